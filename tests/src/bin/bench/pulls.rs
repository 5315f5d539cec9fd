//! How long a pull takes: five layers of this host's own files from a registry on loopback to a memory file system,
//! ours and containerd's in turn, and beside them the floor: the same layers decompressed and written, and nothing
//! else.
//!
//! Never: a disk; it would be what is measured.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufReader, Write},
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use cri_api::v1;
use serde_json::json;
use tests::{
    ask,
    client::CriClient,
    daemon::{Daemon, Options},
    layout::{Layout, Packing, packed},
    memory::Memory,
    network::Network,
    registry::{self, Registry},
};

use crate::{
    containerd::Containerd,
    limits::{PULL_LAYER_BYTES, PULL_LAYERS, PULL_ROUNDS, PULL_STORE_BYTES},
    median::Values,
    output::{Table, note},
};

/// Plain layers of files below `/usr`, each of at least the size that is promised.
fn layers() -> io::Result<Vec<Vec<u8>>> {
    let mut open = vec![PathBuf::from("/usr/lib"), PathBuf::from("/usr/bin"), PathBuf::from("/usr/share")];
    let mut layers = Vec::new();
    let mut tar = tar::Builder::new(Vec::new());
    let mut named;
    let mut seen = BTreeSet::new();
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        // As images have them: each layer names the folders that it puts something into.
        named = folder.clone();
        if !paths.is_empty() {
            name_folders(&mut tar, &folder, &mut seen)?;
        }
        for path in paths {
            let Ok(facts) = fs::symlink_metadata(&path) else { continue };
            let name = path.strip_prefix("/").unwrap_or(&path).to_owned();
            if facts.is_dir() {
                open.push(path);
            } else if facts.is_file() && facts.len() < PULL_LAYER_BYTES as u64 / 2 {
                tar.append_path_with_name(&path, name)?;
            }
            if tar.get_ref().len() >= PULL_LAYER_BYTES {
                layers.push(std::mem::replace(&mut tar, tar::Builder::new(Vec::new())).into_inner()?);
                seen.clear();
                name_folders(&mut tar, &named, &mut seen)?;
                if layers.len() == PULL_LAYERS {
                    return Ok(layers);
                }
            }
        }
    }
    Err(io::Error::other("this host's /usr is too small for the layers"))
}

/// Names a folder and those above it, each once a layer.
fn name_folders(
    tar: &mut tar::Builder<Vec<u8>>,
    folder: &Path,
    seen: &mut BTreeSet<PathBuf>,
) -> io::Result<()> {
    let mut above: Vec<&Path> = folder.ancestors().filter(|path| path.parent().is_some()).collect();
    above.reverse();
    for path in above.into_iter().filter(|path| seen.insert((*path).to_owned())) {
        tar.append_path_with_name(path, path.strip_prefix("/").unwrap_or(path))?;
    }
    Ok(())
}

fn round(client: &CriClient, name: &str, values: &mut Values) {
    let wish = v1::PullImageRequest { image: ask::image(name), auth: None, sandbox_config: None };
    let begin = Instant::now();
    client.pull_image(wish).unwrap_or_else(|e| panic!("a pull of the benchmark failed: {e}"));
    values.add(begin.elapsed().as_secs_f64());
    let remove = v1::RemoveImageRequest { image: ask::image(name) };
    client.remove_image(remove).unwrap_or_else(|e| panic!("a removal of the benchmark failed: {e}"));
}

/// Decompresses all blobs at once, each into a file.
fn floor(blobs: &[Vec<u8>], packing: Packing, to: &Path, values: &mut Values) -> io::Result<()> {
    let begin = Instant::now();
    let done: io::Result<Vec<()>> = thread::scope(|scope| {
        let threads: Vec<_> = blobs
            .iter()
            .enumerate()
            .map(|(nr, blob)| scope.spawn(move || unpack(blob, packing, &to.join(nr.to_string()))))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("nobody panics here")).collect()
    });
    values.add(begin.elapsed().as_secs_f64());
    for nr in 0..blobs.len() {
        fs::remove_file(to.join(nr.to_string()))?;
    }
    done.map(drop)
}

fn unpack(blob: &[u8], packing: Packing, to: &Path) -> io::Result<()> {
    let mut file = File::create(to)?;
    let blob = BufReader::with_capacity(128 << 10, blob);
    let mut source: Box<dyn io::Read> = match packing {
        Packing::Gzip => Box::new(flate2::bufread::GzDecoder::new(blob)),
        Packing::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(blob)?),
        Packing::Plain => Box::new(blob),
    };
    let mut buffer = vec![0; 128 << 10];
    loop {
        let length = source.read(&mut buffer)?;
        if length == 0 {
            return file.flush();
        }
        file.write_all(&buffer[..length])?;
    }
}

fn serve(network: Network, layout: &Path, image: &str) -> Option<Registry> {
    let registry = Registry::start(network, &registry::Options::default())?;
    registry.push_layout(layout, image).expect("the layout is whole");
    Some(registry)
}

pub(crate) fn measure(table: &mut Table) {
    if let Err(error) = try_measure(table) {
        note(&format!("no pulls: {error}"));
    }
}

fn try_measure(table: &mut Table) -> io::Result<()> {
    let layers = layers()?;
    let memory = Memory::mount(PULL_STORE_BYTES)?;
    let below = Some(memory.path().to_owned());
    let Some(daemon) = Daemon::start_with(Options { below, ..Options::default() }) else { return Ok(()) };
    let theirs_at = memory.path().join("containerd");
    let peer = Containerd::start_at(Some(&theirs_at));
    for (packing, what) in [(Packing::Gzip, "gzip"), (Packing::Zstd, "zstd")] {
        let layout = Layout::new(&daemon.path(what))?;
        let list: Vec<(&[u8], Packing)> = layers.iter().map(|layer| (layer.as_slice(), packing)).collect();
        layout.enter(&layout.image(&list, &json!({}))?)?;
        let image = format!("bench/{what}:1");
        let Some(ours_from) = serve(daemon.network(), layout.path(), &image) else { return Ok(()) };
        let theirs_from = peer.as_ref().and_then(|peer| serve(peer.network(), layout.path(), &image));
        let blobs =
            layers.iter().map(|layer| Ok(packed(layer, packing)?.1)).collect::<io::Result<Vec<_>>>()?;
        let (mut ours, mut theirs, mut least) = (Values::default(), Values::default(), Values::default());
        let mut warm = Values::default();
        for nr in 0..=PULL_ROUNDS {
            let first = nr == 0;
            round(daemon.client(), &ours_from.name(&image), if first { &mut warm } else { &mut ours });
            if let (Some(peer), Some(from)) = (&peer, &theirs_from) {
                round(&peer.client, &from.name(&image), if first { &mut warm } else { &mut theirs });
            }
            floor(&blobs, packing, memory.path(), if first { &mut warm } else { &mut least })?;
        }
        let beside = theirs_from.as_ref().map(|_| ("containerd", &theirs));
        table.row(&format!("pull of five layers of 40 MB, {what}, s"), &ours, beside);
        table.row(&format!("the floor: decompress and write them, {what}, s"), &least, None);
    }
    drop(peer);
    // Before its memory goes.
    drop(daemon);
    Ok(())
}
