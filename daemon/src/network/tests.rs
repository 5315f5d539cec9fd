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
use tokio::sync::Notify;

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
    /// What it was told when all records had been looked for.
    complete: AtomicBool,
    recovered: Notify,
    adopted: AtomicBool,
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

    fn adopt(&self, _: &str, _: &Record) {
        self.adopted.store(true, Ordering::SeqCst);
    }

    fn recovered(&self, complete: bool) -> Work<'_, ()> {
        self.complete.store(complete, Ordering::SeqCst);
        self.recovered.notify_one();
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

#[tokio::test]
async fn what_cannot_be_read_at_start_may_belong_to_somebody() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let layout = Layout::new(path("root"), path("state"), path("netns"), "t".into());
    let id = SandboxId::parse(&"a".repeat(64)).unwrap();
    crate::store::make_dir(&layout.sandbox(&id)).unwrap();
    let driver = Arc::new(Scripted::default());
    let open = || Networks::new(layout.clone(), NetworkMode::Auto, vec![driver.clone()]);
    let complete = async |networks: &Networks| {
        networks.recovered();
        driver.recovered.notified().await;
        driver.complete.load(Ordering::SeqCst)
    };
    let adopted = || driver.adopted.swap(false, Ordering::SeqCst);

    let networks = open();
    networks.adopt(&id);
    networks.adopt_unread(&id);
    assert!(complete(&networks).await && !adopted(), "no record and no facts: nothing is there");

    networks.attach(&id, &config()).await.unwrap();
    let networks = open();
    networks.adopt(&id);
    assert!(complete(&networks).await && adopted());

    crate::store::put_json(&layout.sandbox_facts(&id), &"no facts").unwrap();
    let networks = open();
    networks.adopt_unread(&id);
    assert!(!complete(&networks).await && adopted(), "its address is taken all the same");

    crate::store::put_json(&layout.attachment(&id), &"no record").unwrap();
    let networks = open();
    networks.adopt(&id);
    assert!(!complete(&networks).await && !adopted(), "a record that is torn");
    let networks = open();
    networks.adopt(&id);
    assert!(complete(&networks).await, "it is forgotten");
}
