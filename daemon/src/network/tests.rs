//! The records of attachments, with a network that does as it is told.
//!
//! Never: a real link.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use protocol::ids::SandboxId;

use super::{Network, NetworkError, Networks, NotReady, Pod, RECORD_VERSION, Record, Subnet, Work};
use crate::{
    config::NetworkMode,
    layout::Layout,
    sandbox::{SandboxConfig, SandboxName, Sharing},
};

#[derive(Debug, Default)]
struct Scripted {
    fails: AtomicBool,
    forgot: AtomicBool,
}

impl Scripted {
    fn outcome(&self) -> Result<(), NetworkError> {
        if self.fails.load(Ordering::SeqCst) { Err(NetworkError::NotReady("as told".into())) } else { Ok(()) }
    }
}

impl Network for Scripted {
    fn name(&self) -> &'static str {
        "bridge"
    }

    fn outlives_reboot(&self) -> bool {
        true
    }

    fn is_wanted(&self) -> bool {
        true
    }

    fn ready(&self) -> Result<String, NotReady> {
        Ok(String::new())
    }

    fn plan(&self, _: &Pod<'_>) -> Result<Record, NetworkError> {
        Ok(Record {
            version: RECORD_VERSION,
            driver: "bridge".into(),
            boot_id: "b".into(),
            addresses: Vec::new(),
            detail: serde_json::Value::Null,
        })
    }

    fn attach<'a>(&'a self, _: &'a Pod<'a>, record: &'a mut Record) -> Work<'a, ()> {
        record.addresses.push([10, 0, 0, 2].into());
        Box::pin(async { self.outcome() })
    }

    fn detach<'a>(&'a self, _: &'a str, _: PathBuf, _: &'a Record) -> Work<'a, ()> {
        Box::pin(async { self.outcome() })
    }

    fn forget(&self, _: &str) {
        self.forgot.store(true, Ordering::SeqCst);
    }

    fn adopt(&self, _: &str, _: &Record) {}

    fn recovered(&self) -> Work<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn set_ranges(&self, _: &[Subnet]) {}

    fn leave(&self) -> Work<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

fn config() -> SandboxConfig {
    let name = SandboxName { name: "p".into(), namespace: "n".into(), uid: "u".into(), attempt: 0 };
    SandboxConfig {
        name,
        hostname: String::new(),
        log_directory: String::new(),
        labels: Default::default(),
        annotations: Default::default(),
        handler: String::new(),
        dns: None,
        network: Sharing::Pod,
        pid: Sharing::Container,
        privileged: false,
        ipc: Sharing::Pod,
        cgroup_parent: String::new(),
        ports: Vec::new(),
        sysctls: Default::default(),
    }
}

#[tokio::test]
async fn a_record_stays_until_the_detaching_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let layout = Layout::new(path("root"), path("state"), path("netns"), "t".into());
    let id = SandboxId::parse(&"a".repeat(64)).unwrap();
    crate::store::make_dir(&layout.sandbox(&id)).unwrap();
    let driver = Arc::new(Scripted::default());
    let open = || Networks::new(layout.clone(), NetworkMode::Auto, vec![driver.clone()]);
    let networks = open();

    driver.fails.store(true, Ordering::SeqCst);
    networks.attach(&id, &config()).await.unwrap_err();
    assert!(layout.attachment(&id).exists(), "what was begun is known");
    networks.detach(&id).await.unwrap_err();
    assert!(layout.attachment(&id).exists() && !driver.forgot.load(Ordering::SeqCst));

    driver.fails.store(false, Ordering::SeqCst);
    networks.attach(&id, &config()).await.unwrap();
    let after_restart = open();
    after_restart.adopt(&id);
    assert_eq!(after_restart.of(id.as_str()), networks.of(id.as_str()));
    assert_eq!(networks.of(id.as_str()).len(), 1);

    networks.detach(&id).await.unwrap();
    assert!(!layout.attachment(&id).exists() && driver.forgot.load(Ordering::SeqCst));
    assert!(networks.of(id.as_str()).is_empty());
    networks.detach(&id).await.unwrap();
}
