//! Registries that lie, hang, lead astray or break off: each gets a clear error or is outlasted, no secret goes where
//! it does not belong, and the next attempt starts clean.
//!
//! Never: a wait that the daemon's own bound does not end; tests set that to a second.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use cri_api::v1;
use serde_json::{Value, json};
use tests::{
    ask,
    client::CriClient,
    daemon::{Daemon, Options},
    eventually::{eventually, within},
    host,
    layer::Layer,
    layout::{Layout, Packing, packed},
    limits::SOON,
    registry::digest,
    scripted::{Answer, Request, Scripted, from_layout},
};
use tonic::{Code, Status};

/// Half a minute without a caller, and time to clear away.
const LINGER: std::time::Duration = std::time::Duration::from_secs(50);
pub(crate) const PASSWORD: &str = "c4nary-passw0rd";

pub(crate) fn daemon() -> Option<Daemon> {
    daemon_with(&[])
}

fn daemon_with(set: &[&str]) -> Option<Daemon> {
    let mut all = vec!["pull_stall_seconds=1".to_owned()];
    all.extend(set.iter().map(|setting| (*setting).to_owned()));
    Daemon::start_with(Options { set: all, ..Options::default() })
}

/// A file of some size that packs badly, so that a blob takes several pieces.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

fn layer(name: &str, content: &[u8]) -> Vec<u8> {
    let mut layer = Layer::default();
    layer.file(name, 0o644, content).unwrap();
    layer.finish().unwrap()
}

/// A layout with one image of two layers; the digest of the upper one's blob.
pub(crate) fn image(daemon: &Daemon) -> (Layout, String) {
    let layout = Layout::new(&daemon.path("layout")).unwrap();
    let (lower, upper) = (layer("lower", &noise(300_000, 1)), layer("upper", &noise(3_000_000, 2)));
    let entry = layout.image(&[(&lower, Packing::Plain), (&upper, Packing::Gzip)], &json!({})).unwrap();
    layout.enter(&entry).unwrap();
    let blob = digest(&packed(&upper, Packing::Gzip).unwrap().1);
    (layout, blob)
}

pub(crate) fn wish(name: &str) -> v1::PullImageRequest {
    v1::PullImageRequest { image: ask::image(name), auth: None, sandbox_config: None }
}

pub(crate) fn pull(client: &CriClient, name: &str) -> Result<String, Status> {
    client.pull_image(wish(name)).map(|answer| answer.image_ref)
}

pub(crate) fn pull_as_user(client: &CriClient, name: &str) -> Result<String, Status> {
    let (username, password) = ("user".to_owned(), PASSWORD.to_owned());
    let auth = Some(v1::AuthConfig { username, password, ..v1::AuthConfig::default() });
    client.pull_image(v1::PullImageRequest { auth, ..wish(name) }).map(|answer| answer.image_ref)
}

pub(crate) fn remove(daemon: &Daemon, name: &str) {
    daemon.client().remove_image(v1::RemoveImageRequest { image: ask::image(name) }).unwrap();
}

/// The store has nothing but the demo image's layer.
pub(crate) fn clean(daemon: &Daemon) {
    eventually(SOON, "a store without leftovers", || {
        let count = |folder: &str| fs::read_dir(daemon.path("root/snapshots").join(folder)).unwrap().count();
        (count("layers") == 1 && count("chains") == 1).then_some(())
    });
}

/// The pull must fail with one of these words, leave nothing, and work when the registry is good again.
#[track_caller]
fn fails_then_works(
    what: &str,
    spoil: impl Fn(&Request, &Path, &str) -> Option<Answer> + Send + Sync + 'static,
    words: &[&str],
) {
    let Some(daemon) = daemon() else { return };
    let (layout, blob) = image(&daemon);
    let bad = Arc::new(AtomicBool::new(true));
    let (now, path, upper) = (Arc::clone(&bad), layout.path().to_owned(), blob);
    let registry = Scripted::of_layout(daemon.network(), layout.path(), move |request| {
        now.load(Ordering::Relaxed).then(|| spoil(request, &path, &upper)).flatten()
    });
    let name = registry.name("bad/image:1");
    let error = pull(daemon.client(), &name).unwrap_err();
    for word in words {
        assert!(error.message().contains(word), "{what}: {word:?} in {error}");
    }
    assert!(
        error.message().contains(registry.host()) || error.message().contains("sha256:"),
        "{what}: {error}"
    );
    clean(&daemon);
    bad.store(false, Ordering::Relaxed);
    pull(daemon.client(), &name).unwrap_or_else(|e| panic!("{what}, then good: {e}"));
    remove(&daemon, &name);
}

pub(crate) fn asks_for(request: &Request, blob: &str) -> bool {
    request.path.ends_with(blob)
}

#[test]
fn a_wrong_blob() {
    let spoil = |request: &Request, layout: &Path, blob: &str| {
        let Answer::Whole(status, headers, mut body) = from_layout(layout, request) else { return None };
        let middle = body.len() / 2;
        body[middle] ^= 1;
        asks_for(request, blob).then_some(Answer::Whole(status, headers, body))
    };
    fails_then_works("wrong blob", spoil, &["sha256:", "damaged or forged"]);
    // One that is a sound archive with other content: nothing but the digest tells.
    let forged = |request: &Request, layout: &Path, _: &str| {
        let Answer::Whole(status, headers, mut body) = from_layout(layout, request) else { return None };
        body.starts_with(b"lower").then(|| {
            body[2000] ^= 1;
            Answer::Whole(status, headers, body)
        })
    };
    fails_then_works("forged blob", forged, &["sha256:", "damaged or forged"]);
}

#[test]
fn a_blob_of_another_size() {
    let longer = |request: &Request, layout: &Path, blob: &str| {
        let Answer::Whole(_, _, body) = from_layout(layout, request) else { return None };
        let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
        asks_for(request, blob).then(|| Answer::Raw([head, body, vec![0; 1000]].concat()))
    };
    fails_then_works("longer", longer, &["it is longer than the"]);
    let stated = |request: &Request, layout: &Path, blob: &str| {
        let Answer::Whole(status, headers, mut body) = from_layout(layout, request) else { return None };
        body.pop();
        asks_for(request, blob).then_some(Answer::Whole(status, headers, body))
    };
    fails_then_works("shorter", stated, &["bytes instead of"]);
}

#[test]
fn a_page_of_a_portal() {
    let spoil = |request: &Request, _: &Path, _: &str| {
        let page = Answer::good("text/html; charset=utf-8", b"<html>please log in</html>".to_vec());
        request.path.contains("/manifests/").then_some(page)
    };
    fails_then_works("html", spoil, &["text/html", "is there a registry"]);
}

#[test]
fn a_manifest_without_end() {
    let spoil = |request: &Request, _: &Path, _: &str| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n\r\n";
        request.path.contains("/manifests/").then(|| Answer::Endless(head.to_vec()))
    };
    fails_then_works("endless", spoil, &["larger than 4194304 bytes"]);
    let stated = |request: &Request, _: &Path, _: &str| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n{";
        request.path.contains("/manifests/").then(|| Answer::Hang(head.to_vec()))
    };
    fails_then_works("a gibibyte", stated, &["larger than 4194304 bytes"]);
}

#[test]
fn a_registry_that_hangs_or_hangs_up() {
    let silent = |_: &Request, _: &Path, _: &str| Some(Answer::Hang(Vec::new()));
    fails_then_works(
        "silent",
        silent,
        &["RegistryUnavailable: ", "no answer in 1 s", "pull was still in step pull.resolve (image "],
    );
    let up = |_: &Request, _: &Path, _: &str| Some(Answer::Raw(Vec::new()));
    fails_then_works("hangs up", up, &["RegistryUnavailable: "]);
    let stalls = |request: &Request, _: &Path, blob: &str| {
        let head = b"HTTP/1.1 200 OK\r\n\r\n\x1f\x8b".to_vec();
        asks_for(request, blob).then_some(Answer::Hang(head))
    };
    fails_then_works("stalls", stalls, &["RegistryUnavailable: ", "nothing came for 1 s"]);
}

#[test]
fn a_registry_that_is_busy_for_ever_and_one_for_a_while() {
    let busy = |_: &Request, _: &Path, _: &str| Some(Answer::status(503));
    fails_then_works("busy", busy, &["RegistryUnavailable: ", "503"]);
    let Some(daemon) = daemon() else { return };
    let (layout, _) = image(&daemon);
    let asked = AtomicUsize::new(0);
    let registry = Scripted::of_layout(daemon.network(), layout.path(), move |_| {
        (asked.fetch_add(1, Ordering::Relaxed) % 3 < 2).then(|| Answer::status(429).with("Retry-After", "0"))
    });
    let name = registry.name("busy/image:1");
    pull(daemon.client(), &name).unwrap();
    remove(&daemon, &name);
}

#[test]
fn a_blob_that_breaks_off_is_gone_on_with() {
    let Some(daemon) = daemon() else { return };
    let (layout, blob) = image(&daemon);
    for with_ranges in [true, false] {
        let (path, upper) = (layout.path().to_owned(), blob.clone());
        let broken = AtomicUsize::new(0);
        let registry = Scripted::of_layout(daemon.network(), layout.path(), move |request| {
            let Answer::Whole(_, _, body) = from_layout(&path, request) else { return None };
            if !asks_for(request, &upper) {
                return None;
            }
            let from =
                request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
            let from: usize = from.and_then(|from| from.parse().ok()).filter(|_| with_ranges).unwrap_or(0);
            let cut = broken.fetch_add(1, Ordering::Relaxed) < 6;
            let end = if cut { (from + 400_000).min(body.len()) } else { body.len() };
            let status = if from > 0 { "206 Partial" } else { "200 OK" };
            let head = format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Range: bytes {from}-{}/{}\r\nContent-Length: {}\r\n\r\n",
                body.len() - 1,
                body.len(),
                body.len() - from
            );
            Some(Answer::Raw([head.as_bytes(), &body[from..end]].concat()))
        });
        let name = registry.name("cut/image:1");
        let pulled = pull(daemon.client(), &name);
        if with_ranges {
            pulled.unwrap();
            let requests = registry.requests();
            assert!(requests.iter().filter(|request| request.header("range").is_some()).count() >= 5);
            remove(&daemon, &name);
        } else {
            // It begins anew each time and breaks off at the same place: no headway, so it is given up.
            let error = pulled.unwrap_err();
            assert!(error.message().starts_with("RegistryUnavailable: "), "{error}");
            clean(&daemon);
        }
    }
}

#[test]
fn bombs_are_stopped_by_the_configured_bounds() {
    let set = ["layer_max_bytes=20000000", "layer_max_entries=1000"];
    let Some(daemon) = daemon_with(&set) else { return };
    let many = {
        let mut tar = tar::Builder::new(Vec::new());
        for nr in 0..1001 {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            tar.append_data(&mut header, format!("d{nr}"), std::io::empty()).unwrap();
        }
        tar.into_inner().unwrap()
    };
    let zeros = layer("zeros", &vec![0; 30_000_000]);
    for (name, layer, packing, word) in [
        ("gzip", &zeros, Packing::Gzip, "20000000 bytes"),
        ("zstd", &zeros, Packing::Zstd, "20000000 bytes"),
        ("many", &many, Packing::Gzip, "1000 entries"),
    ] {
        let layout = Layout::new(&daemon.path(name)).unwrap();
        let entry = layout.image(&[(layer, packing)], &json!({})).unwrap();
        layout.enter(&entry).unwrap();
        let registry = Scripted::of_layout(daemon.network(), layout.path(), |_| None);
        let error = pull(daemon.client(), &registry.name("bomb/image:1")).unwrap_err();
        assert!(error.message().contains(word) && error.message().contains("sha256:"), "{name}: {error}");
        clean(&daemon);
    }
}

/// A registry whose upper blob hangs in the middle while `slow`.
fn slow(daemon: &Daemon, layout: &Layout, blob: &str, slow: &Arc<AtomicBool>) -> Scripted {
    let (path, upper, slow) = (layout.path().to_owned(), blob.to_owned(), Arc::clone(slow));
    Scripted::of_layout(daemon.network(), layout.path(), move |request| {
        if !asks_for(request, &upper) || !slow.load(Ordering::Relaxed) {
            return None;
        }
        let Answer::Whole(_, _, body) = from_layout(&path, request) else { return None };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        Some(Answer::Hang([head.as_bytes(), &body[..body.len() / 2]].concat()))
    })
}

#[test]
fn equal_pulls_are_one_and_outlive_a_caller() {
    let Some(daemon) = daemon_with(&["pull_stall_seconds=2"]) else { return };
    let (layout, blob) = image(&daemon);
    let hangs = Arc::new(AtomicBool::new(true));
    let registry = slow(&daemon, &layout, &blob, &hangs);
    let name = registry.name("one/image:1");
    let pulls: Vec<_> = (0..4)
        .map(|_| {
            let (client, name) = (CriClient::new(&daemon.socket()), name.clone());
            thread::spawn(move || pull(&client, &name))
        })
        .collect();
    registry.wait_for(&blob);
    // One that gives up at once is told so, and the others are not.
    let error = tests::client::executor().block_on(async {
        let mut client = daemon.client().images();
        let mut request = tonic::Request::new(wish(&name));
        request.set_timeout(std::time::Duration::from_millis(50));
        client.pull_image(request).await.unwrap_err()
    });
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&error.code()), "{error}");
    hangs.store(false, Ordering::Relaxed);
    let ids: Vec<String> = pulls.into_iter().map(|pull| pull.join().unwrap().unwrap()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(registry.count("/manifests/"), 1, "one pull for all");
    remove(&daemon, &name);
}

#[test]
fn a_daemon_that_dies_in_a_pull_leaves_nothing_half_there() {
    let Some(mut daemon) = daemon_with(&["pull_stall_seconds=20"]) else { return };
    let (layout, blob) = image(&daemon);
    let hangs = Arc::new(AtomicBool::new(true));
    let registry = slow(&daemon, &layout, &blob, &hangs);
    let name = registry.name("dead/image:1");
    let (client, wanted) = (CriClient::new(&daemon.socket()), name.clone());
    let pulling = thread::spawn(move || pull(&client, &wanted));
    registry.wait_for(&blob);
    daemon.kill9();
    assert!(pulling.join().unwrap().is_err());
    daemon.launch();
    clean(&daemon);
    let status = v1::ImageStatusRequest { image: ask::image(&name), verbose: false };
    assert_eq!(daemon.client().image_status(status).unwrap().image, None);
    hangs.store(false, Ordering::Relaxed);
    pull(daemon.client(), &name).unwrap();
    remove(&daemon, &name);
    daemon.settle();
}

/// Digests and sizes that no document may hold.
#[test]
fn documents_that_lie() {
    let Some(daemon) = daemon() else { return };
    let (layout, _) = image(&daemon);
    let index: Value = serde_json::from_slice(&fs::read(layout.path().join("index.json")).unwrap()).unwrap();
    let good = index["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
    let good: Value =
        serde_json::from_slice(&fs::read(layout.path().join("blobs").join(good)).unwrap()).unwrap();
    let spoilt = |spoil: &dyn Fn(&mut Value)| {
        let mut manifest = good.clone();
        spoil(&mut manifest);
        manifest.to_string().into_bytes()
    };
    let zeros = format!("sha256:{}", "0".repeat(64));
    let cases: [(&str, Vec<u8>, &str); 9] = [
        (
            "digest with a path",
            spoilt(&|m| m["layers"][0]["digest"] = json!("sha256:../../x")),
            "no sha256 digest",
        ),
        ("another algorithm", spoilt(&|m| m["config"]["digest"] = json!("md5:00")), "no sha256 digest"),
        ("negative size", spoilt(&|m| m["layers"][0]["size"] = json!(-1)), "no valid JSON"),
        (
            "no size",
            spoilt(&|m| drop(m["layers"][0].as_object_mut().unwrap().remove("size"))),
            "says no size",
        ),
        (
            "too few layers",
            spoilt(&|m| drop(m["layers"].as_array_mut().unwrap().pop())),
            "configuration lists 2",
        ),
        ("missing blob", spoilt(&|m| m["layers"][1]["digest"] = json!(zeros.clone())), "not found"),
        ("both at once", spoilt(&|m| m["manifests"] = json!([])), "at once"),
        ("schema 1", br#"{"schemaVersion":1,"fsLayers":[]}"#.to_vec(), "schema 1"),
        ("null", b"null".to_vec(), "no valid JSON"),
    ];
    for (what, bytes, word) in cases {
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let registry = Scripted::of_layout(daemon.network(), layout.path(), move |request| {
            request.path.contains("/manifests/").then(|| Answer::good(media_type, bytes.clone()))
        });
        let error = pull(daemon.client(), &registry.name("lie/image:1")).unwrap_err();
        assert!(error.message().contains(word), "{what}: {error}");
    }
    // A document of the wrong kind, and an index without end.
    let index = json!({ "schemaVersion": 2, "manifests": [{ "digest": zeros, "size": 2 }] }).to_string();
    let registry = Scripted::start(daemon.network(), move |_| {
        Answer::good("application/vnd.oci.image.manifest.v1+json", index.clone().into_bytes())
    });
    let error = pull(daemon.client(), &registry.name("lie/image:1")).unwrap_err();
    assert!(error.message().contains("media type"), "{error}");
    clean(&daemon);
}

#[test]
fn a_pull_that_nobody_wants_ends_and_frees_what_it_had() {
    if !host::full() {
        return;
    }
    let Some(daemon) = daemon_with(&["pull_stall_seconds=600"]) else { return };
    let (layout, blob) = image(&daemon);
    let hangs = Arc::new(AtomicBool::new(true));
    let registry = slow(&daemon, &layout, &blob, &hangs);
    let name = registry.name("left/image:1");
    let error = tests::client::executor().block_on(async {
        let mut request = tonic::Request::new(wish(&name));
        request.set_timeout(std::time::Duration::from_secs(1));
        daemon.client().images().pull_image(request).await.unwrap_err()
    });
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&error.code()), "{error}");
    let ended = within(LINGER, || daemon.log().contains("nobody waits for it").then_some(()));
    assert!(ended.is_some(), "{}", daemon.log_tail());
    clean(&daemon);
}

#[expect(clippy::disallowed_methods, reason = "a test's own file; nobody reads half of it")]
pub(crate) fn put(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
}
