//! `taffrail image pull|import|list|remove`.
//!
//! Never: opens the store; the daemon owns it. Takes a secret from the command line, which others can see.

use std::{
    fs::File,
    io::{IsTerminal, Read},
    path::Path,
    process::ExitCode,
};

use cri_api::{control, v1};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{
    args::{ImageArguments, ImageCommand},
    connect::{Connection, block_on},
    exit::Failure,
    print,
};

/// Bytes read of a file of credentials: tokens as passwords have some KiB.
const CREDENTIALS_MAX: u64 = 64 << 10;

pub(super) fn run(arguments: ImageArguments) -> Result<ExitCode, Failure> {
    let socket = Connection::socket(&arguments.client);
    block_on(async {
        let connection = Connection::open(socket).await?;
        match arguments.command {
            ImageCommand::Pull { name, creds_stdin, creds_file, json } => {
                let credentials = credentials(creds_stdin, creds_file.as_deref())?;
                pull(&connection, name, credentials, json).await
            }
            ImageCommand::Import { file, json } => import(&connection, &file, json).await,
            ImageCommand::List { json } => list(&connection, json).await,
            ImageCommand::Remove { images } => remove(&connection, images).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Imports a file, showing a bar on a terminal. Returns what is in the catalogue now.
pub(super) async fn import_file(
    connection: &Connection,
    file: &Path,
) -> Result<Vec<control::ImportedImage>, Failure> {
    let path = std::fs::canonicalize(file)
        .map_err(|e| Failure::failed(format!("{} cannot be read: {e}", file.display())))?;
    let request = control::ImportImageRequest { path: path.to_string_lossy().into_owned() };
    let steps = connection.control().import_image(request).await?.into_inner();
    watch(steps).await
}

/// Shows a bar on a terminal until the last message, which names the images.
async fn watch(
    mut steps: tonic::Streaming<control::ImportImageProgress>,
) -> Result<Vec<control::ImportedImage>, Failure> {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {msg}") {
        bar.set_style(style);
    }
    let mut images = Vec::new();
    while let Some(step) = steps.message().await? {
        bar.set_length(step.total_bytes);
        bar.set_position(step.done_bytes);
        bar.set_message(step.what);
        images.extend(step.images);
    }
    bar.finish_and_clear();
    Ok(images)
}

async fn import(connection: &Connection, file: &Path, as_json: bool) -> Result<(), Failure> {
    show(&import_file(connection, file).await?, as_json)
}

async fn pull(
    connection: &Connection,
    image: String,
    credentials: String,
    as_json: bool,
) -> Result<(), Failure> {
    let request = control::PullImageRequest { image, credentials };
    let steps = connection.control().pull_image(request).await?.into_inner();
    show(&watch(steps).await?, as_json)
}

/// `username:password` from where the user has it; empty: none.
fn credentials(stdin: bool, file: Option<&Path>) -> Result<String, Failure> {
    let (name, source): (_, Box<dyn Read>) = match file {
        Some(file) => {
            let failed = |e| Failure::failed(format!("{} cannot be read: {e}", file.display()));
            (file.display().to_string(), Box::new(File::open(file).map_err(failed)?))
        }
        None if stdin => ("standard input".to_owned(), Box::new(std::io::stdin())),
        None => return Ok(String::new()),
    };
    let mut text = String::new();
    let read = source.take(CREDENTIALS_MAX).read_to_string(&mut text);
    read.map_err(|e| Failure::failed(format!("{name} cannot be read: {e}")))?;
    let pair = text.trim_end_matches(['\n', '\r']);
    if pair.contains(':') {
        return Ok(pair.to_owned());
    }
    Err(Failure::failed(format!("{name} holds no username:password")))
}

fn show(images: &[control::ImportedImage], as_json: bool) -> Result<(), Failure> {
    if as_json {
        let all: Vec<_> = images.iter().map(|i| json!({ "id": i.id, "repo_tags": i.repo_tags })).collect();
        return print::json(&all);
    }
    images.iter().try_for_each(|i| print::line(format!("{} {}", i.id, i.repo_tags.join(" ")).trim_end()))
}

async fn list(connection: &Connection, as_json: bool) -> Result<(), Failure> {
    let response = connection.images().list_images(v1::ListImagesRequest::default()).await?;
    let images = response.into_inner().images;
    if as_json {
        let all: Vec<_> = images
            .iter()
            .map(|i| json!({ "id": i.id, "repo_tags": i.repo_tags, "repo_digests": i.repo_digests, "size": i.size }))
            .collect();
        return print::json(&all);
    }
    let mut rows = Vec::new();
    for image in &images {
        let id = image.id.trim_start_matches("sha256:").get(..13).unwrap_or(&image.id).to_owned();
        let size = indicatif::HumanBytes(image.size).to_string();
        if image.repo_tags.is_empty() {
            rows.push(vec!["<none>".to_owned(), id.clone(), size.clone()]);
        }
        rows.extend(image.repo_tags.iter().map(|tag| vec![tag.clone(), id.clone(), size.clone()]));
    }
    print::table(&["IMAGE", "ID", "SIZE"], &rows)
}

async fn remove(connection: &Connection, images: Vec<String>) -> Result<(), Failure> {
    for image in images {
        let spec = || Some(v1::ImageSpec { image: image.clone(), ..v1::ImageSpec::default() });
        let mut client = connection.images();
        let status = v1::ImageStatusRequest { image: spec(), verbose: false };
        if client.image_status(status).await?.into_inner().image.is_none() {
            return Err(Failure::failed(format!("there is no image {image}")));
        }
        client.remove_image(v1::RemoveImageRequest { image: spec() }).await?;
        print::line(&format!("removed {image}"))?;
    }
    Ok(())
}
