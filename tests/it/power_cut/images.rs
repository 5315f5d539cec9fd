//! The images that the cuts are made among, and what every layer of them must hold.
//!
//! Owns: their layouts and the trees of their layers, as a daemon unpacked them in peace. Never: a layer that is looked at in part.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use cri_api::v1;
use serde_json::{Value, json};
use tests::{
    ask,
    daemon::Daemon,
    image_file,
    layer::Layer,
    layout::{Layout, Packing},
    scripted::{Answer, Request, from_layout},
    tree::{self, Tree},
};

/// Files of a layer: enough that a cut falls between them.
const FILES: usize = 120;
/// The largest of them in bytes, and one that is larger.
const SMALL: usize = 24 << 10;
const LARGE: usize = 3 << 20;

/// One image.
pub struct Item {
    name: String,
    layout: PathBuf,
    id: String,
}

impl Item {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn path(&self) -> &Path {
        &self.layout
    }

    pub fn id(&self) -> &str {
        &self.id
    }
}

/// All of them.
pub struct Stock {
    items: Vec<Item>,
    demo: PathBuf,
    /// What a layer must hold, by its chain id.
    trees: BTreeMap<String, Tree>,
}

/// A layer that no other is like, with files of all kinds.
fn layer(number: usize) -> Vec<u8> {
    let mut tar = Layer::default();
    let root = format!("l{number}");
    tar.folder(&root, 0o751).unwrap();
    let content = |seed: usize, length: usize| -> Vec<u8> {
        (0..length).map(|at| (at * 31 + seed * 131 + at / 251).to_le_bytes()[0] | 1).collect()
    };
    for file in 0..FILES {
        let folder = format!("{root}/d{}", file / 20);
        if file % 20 == 0 {
            tar.folder(&folder, 0o700 + u32::try_from(file / 20).unwrap()).unwrap();
        }
        let path = format!("{folder}/f{file}");
        tar.file(&path, 0o640, &content(number * FILES + file, file * SMALL / FILES)).unwrap();
        match file % 30 {
            7 => tar.link(&format!("{folder}/h{file}"), &path).unwrap(),
            8 => tar.symlink(&format!("{folder}/s{file}"), "../somewhere").unwrap(),
            9 => tar.pipe(&format!("{folder}/p{file}")).unwrap(),
            _ => {}
        }
    }
    tar.file(&format!("{root}/large"), 0o4755, &content(number, LARGE)).unwrap();
    tar.finish().unwrap()
}

impl Stock {
    /// Makes them, has the daemon unpack them in peace, and removes them again.
    pub fn make(daemon: &Daemon) -> Self {
        let layers: Vec<Vec<u8>> = (0..5).map(layer).collect();
        // Two share their lowest layer.
        let images = [("a", vec![0, 1, 2]), ("b", vec![0, 3]), ("c", vec![4])];
        let packings = [Packing::Plain, Packing::Gzip, Packing::Zstd];
        let mut items = Vec::new();
        for ((name, stack), packing) in images.into_iter().zip(packings) {
            let layout = Layout::new(&daemon.path(&format!("layout-{name}"))).unwrap();
            let stack: Vec<_> = stack.iter().map(|&at: &usize| (layers[at].as_slice(), packing)).collect();
            let mut entry = layout.image(&stack, &json!({})).unwrap();
            let whole = format!("taffrail.test/cut-{name}:1");
            entry["annotations"] = json!({ "org.opencontainers.image.ref.name": whole });
            layout.enter(&entry).unwrap();
            let (name, id) = (format!("cut-{name}"), imported(daemon, layout.path()));
            items.push(Item { name, layout: layout.path().to_owned(), id });
        }
        let demo = daemon.path("demo.tar");
        image_file::write_demo(&demo).unwrap();
        let demo_id = imported(daemon, &demo);
        let ids: Vec<String> = items.iter().map(|item| item.id.clone()).chain([demo_id]).collect();
        let trees = ids.iter().flat_map(|id| folders(daemon, id)).map(|(chain, at)| (chain, read(&at)));
        let stock = Self { demo, trees: trees.collect(), items };
        assert_eq!(stock.trees.len(), layers.len() + 1);
        stock.remove(daemon);
        stock
    }

    /// Every image but the demo's.
    pub fn all(&self) -> &[Item] {
        &self.items
    }

    /// One of them.
    pub fn any(&self, random: u64) -> &Item {
        &self.items[usize::try_from(random).unwrap_or_default() % self.items.len()]
    }

    /// What a registry of them answers.
    pub fn registry(&self) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
        let known: Vec<(String, PathBuf)> =
            self.items.iter().map(|item| (format!("/v2/{}/", item.name), item.layout.clone())).collect();
        move |request| match known.iter().find(|(path, _)| request.path.starts_with(path)) {
            Some((_, layout)) => from_layout(layout, request),
            None => Answer::status(if request.path == "/v2/" { 200 } else { 404 }),
        }
    }

    /// The image that pods are made of is there.
    pub fn enter_demo(&self, daemon: &Daemon) {
        daemon.import(&self.demo);
    }

    /// An image that is listed has all its layers, with every file as it must be. How many layers.
    pub fn check(&self, daemon: &Daemon, id: &str) -> usize {
        let folders = folders(daemon, id);
        for (chain, folder) in &folders {
            let expected = self.trees.get(chain).unwrap_or_else(|| panic!("{id}: layer {chain}, of none"));
            let differences = tree::differences(expected, &read(folder));
            let some = &differences[..differences.len().min(10)];
            assert!(differences.is_empty(), "{id} is listed, but in layer {chain}:\n{}", some.join("\n"));
        }
        folders.len()
    }

    /// Removes all images.
    pub fn remove(&self, daemon: &Daemon) {
        let list = daemon.client().list_images(v1::ListImagesRequest::default()).unwrap();
        for image in list.images {
            let request = v1::RemoveImageRequest { image: ask::image(&image.id) };
            daemon.client().remove_image(request).unwrap();
        }
    }
}

/// Imports a file or a layout; the image's id.
fn imported(daemon: &Daemon, path: &Path) -> String {
    let done = daemon.cli(&["image", "import", "--json", &path.to_string_lossy()]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let images: Value = serde_json::from_slice(&done.stdout).unwrap();
    images[0]["id"].as_str().unwrap().to_owned()
}

/// Chain id and folder of each layer of an image, bottom first.
fn folders(daemon: &Daemon, id: &str) -> Vec<(String, PathBuf)> {
    let request = v1::ImageStatusRequest { image: ask::image(id), verbose: true };
    let info = daemon.client().image_status(request).unwrap().info;
    let info: Value = serde_json::from_str(&info["info"]).unwrap();
    let store = daemon.path("root/snapshots");
    let place = |chain: &Value| {
        let chain = chain.as_str().unwrap().trim_start_matches("sha256:").to_owned();
        let record = fs::read(store.join("chains").join(format!("{chain}.json")));
        let record =
            record.unwrap_or_else(|e| panic!("{id} is listed, its layer {chain} has no record: {e}"));
        let record: Value = serde_json::from_slice(&record).unwrap();
        let folder = store.join("layers").join(record["folder"].to_string());
        (chain, folder)
    };
    info["chainIDs"].as_array().unwrap().iter().map(place).collect()
}

/// What stands in a layer. Its own folder has the time of its making.
fn read(folder: &Path) -> Tree {
    let mut tree = tree::read(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    tree.remove(".");
    tree
}
