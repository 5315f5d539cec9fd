//! The composition root: the only place that names the concrete drivers and puts the parts together.
//!
//! Owns: the order of construction. Never: work of its own.

use std::{fs, io, path::Path, sync::Arc};

use anyhow::Context;

use crate::{
    cgroups::Cgroups,
    config::{self, Config},
    container::{self, Containers},
    cri::{ControlService, Identity, ImageService, RuntimeService, Services},
    events::Events,
    image::{Bounds, Images, PinnedNames, Pulls, Registries},
    layout::Layout,
    network::{Bridge, BridgeSettings, Cni, CniSettings, Networks, Subnet},
    oci::{
        Handlers,
        spec::{CapabilitySet, Controllers, HostLimits, SecurityModules},
    },
    operations::Operations,
    sandbox::{self, Sandboxes},
    shims::Shims,
    snapshot::{Overlay, Snapshotter},
    stats::Stats,
    store,
    sys::mounts,
};

/// CAP_SYS_RESOURCE (linux/capability.h): without it `oom_score_adj` cannot be lowered.
const CAP_SYS_RESOURCE: &str = "SYS_RESOURCE";

/// A daemon put together, not yet serving.
#[derive(Debug)]
pub struct Assembly {
    /// What is served.
    pub services: Services,
    /// Where everything is.
    pub layout: Layout,
    /// For recovery.
    pub sandboxes: Sandboxes,
    /// For recovery.
    pub containers: Containers,
    /// For the standby shims.
    pub shims: Arc<Shims>,
    /// For the end.
    pub cgroups: Cgroups,
    /// This boot.
    pub boot_id: String,
    /// What happens, for those who listen.
    pub events: Events,
}

/// Puts it together. The root is locked by the caller. Blocking.
pub fn assemble(config: &Config) -> anyhow::Result<Assembly> {
    let layout = Layout::new(
        config.root.clone(),
        config.state.clone(),
        config.netns_dir.clone(),
        config.instance.clone(),
    );
    make_folders(&layout)?;
    let boot_id =
        fs::read_to_string("/proc/sys/kernel/random/boot_id").context("the boot id cannot be read")?;
    let boot_id = boot_id.trim().to_owned();
    let cgroups = Cgroups::detect(config.cgroup_driver, &config.instance, &config.shim_cgroup);
    let handlers = Handlers::new(config, cgroups.is_v2());
    let shims =
        Arc::new(Shims::new(cgroups.clone(), &layout).context("the shim's program cannot be loaded")?);
    let snapshots: Arc<dyn Snapshotter> =
        Arc::new(Overlay::open(layout.root()).context("the snapshots cannot be opened")?);
    let operations = Operations::default();
    let (images, pulls) = images(config, &layout, snapshots.clone(), &operations)?;
    let events = Events::default();
    let networks = networks(config, &layout, &boot_id)?;
    let sandboxes = Sandboxes::new(sandbox::Parts {
        layout: layout.clone(),
        cgroups: cgroups.clone(),
        shims: shims.clone(),
        handlers: handlers.clone(),
        networks,
        boot_id: boot_id.clone(),
        events: events.clone(),
        operations: operations.clone(),
    });
    let containers = Containers::new(container::Parts {
        features: container::Features::new(&handlers),
        layout: layout.clone(),
        cgroups: cgroups.clone(),
        shims: shims.clone(),
        handlers: handlers.clone(),
        snapshots,
        host: host_limits(&cgroups, config.pids_limit).context("our own limits cannot be read")?,
        events: events.clone(),
        operations: operations.clone(),
    });
    let identity = identity(config);
    let services = Services {
        runtime: RuntimeService {
            identity: identity.clone(),
            handlers: handlers.clone(),
            sandboxes: sandboxes.clone(),
            images: images.clone(),
            containers: containers.clone(),
            stats: Stats::default(),
            events: events.clone(),
        },
        image: ImageService {
            images: images.clone(),
            pulls: pulls.clone(),
            handlers,
            pinned: PinnedNames::new(&config.pinned_images),
            layout: layout.clone(),
            operations: operations.clone(),
        },
        control: ControlService {
            identity,
            images,
            pulls,
            sandboxes: sandboxes.clone(),
            containers: containers.clone(),
            operations,
        },
    };
    Ok(Assembly { services, layout, sandboxes, containers, shims, cgroups, boot_id, events })
}

/// Who this daemon is.
fn identity(config: &Config) -> Identity {
    Identity { instance: config.instance.clone(), root: config.root.clone(), state: config.state.clone() }
}

/// Range of pods' IPv4 addresses where nobody names one: seldom used by others.
const SUBNET: &str = "10.86.0.0/16";

/// Range of pods' IPv6 addresses where nobody names one: locally assigned (RFC 4193), by the instance.
fn subnet6(instance: &str) -> String {
    let hash = config::fold(&[instance.as_bytes()]).to_be_bytes();
    format!("fd{:02x}:{:02x}{:02x}:{:02x}{:02x}:86::/64", hash[0], hash[1], hash[2], hash[3], hash[4])
}

/// Whether pods could have a network on this host, and which; nothing is made.
pub fn network_check(config: &Config) -> anyhow::Result<(&'static str, Result<String, String>)> {
    let (root, state) = (config.root.clone(), config.state.clone());
    let layout = Layout::new(root, state, config.netns_dir.clone(), config.instance.clone());
    let networks = networks(config, &layout, "")?;
    let name = match networks.name() {
        Some("cni") => "CNI",
        Some(_) => "the built-in bridge",
        None => "loopback only",
    };
    Ok((name, networks.ready().map_err(|why| why.message)))
}

/// The networks: CNI before the built-in bridge.
fn networks(config: &Config, layout: &Layout, boot_id: &str) -> anyhow::Result<Networks> {
    let keys = &config.network;
    let range = |key: &'static str, value: &str| -> anyhow::Result<Subnet> {
        value.parse::<Subnet>().with_context(|| format!("{key} cannot be used"))
    };
    let is_fixed = !keys.bridge_subnet.is_empty() || !keys.bridge_subnet6.is_empty();
    let subnet = if keys.bridge_subnet.is_empty() { SUBNET } else { &keys.bridge_subnet };
    let mut subnets = vec![range("bridge.subnet", subnet)?];
    match keys.bridge_subnet6.as_str() {
        "none" => {}
        "" => subnets.push(range("bridge.subnet6", &subnet6(&config.instance))?),
        named => subnets.push(range("bridge.subnet6", named)?),
    }
    let is_ours = keys.bridge_name.is_empty();
    let name = if is_ours {
        // A link's name has room for the instance's own hardly ever.
        format!("tfb-{:08x}", config::fold(&[config.instance.as_bytes()]) >> 32)
    } else {
        keys.bridge_name.clone()
    };
    let bridge = Bridge::new(BridgeSettings {
        name,
        is_ours,
        subnets,
        is_fixed,
        instance: config.instance.clone(),
        boot_id: boot_id.to_owned(),
    });
    let cni = Cni::new(CniSettings {
        conf_dir: keys.cni_conf_dir.clone(),
        bin_dirs: keys.cni_bin_dirs.clone(),
        timeout: keys.cni_timeout,
        boot_id: boot_id.to_owned(),
    });
    Ok(Networks::new(layout.clone(), keys.mode, vec![Arc::new(cni), Arc::new(bridge)]))
}

/// The images there are, and the way to more.
fn images(
    config: &Config,
    layout: &Layout,
    snapshots: Arc<dyn Snapshotter>,
    operations: &Operations,
) -> anyhow::Result<(Arc<Images>, Pulls)> {
    let bounds = Bounds { entries: config.layer_max_entries, bytes: config.layer_max_bytes };
    let images = Images::open(layout.root(), snapshots, bounds).context("the images cannot be opened")?;
    let registries = Registries {
        configuration: config.registries_conf.clone(),
        certificates: config.registries_certs_dir.clone(),
        stall: config.pull_stall,
    };
    Ok((Arc::new(images.clone()), Pulls::new(images, registries, operations.clone())))
}

fn make_folders(layout: &Layout) -> anyhow::Result<()> {
    for folder in [&layout.sandboxes(), &layout.containers(), layout.state()] {
        store::make_dir(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    fs::create_dir_all(layout.netns_dir())
        .with_context(|| format!("{} cannot be made", layout.netns_dir().display()))?;
    if let Err(error) = mounts::share(layout.netns_dir()) {
        let folder = layout.netns_dir().display().to_string();
        tracing::warn!(folder, %error, "others with a mount namespace of their own will not see the pods' namespaces");
    }
    Ok(())
}

/// What this process may give away.
fn host_limits(cgroups: &Cgroups, pids_limit: u32) -> io::Result<HostLimits> {
    let status = fs::read_to_string("/proc/self/status")?;
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let mask = bounding.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    let capabilities =
        CapabilitySet(mask.ok_or_else(|| io::Error::other("/proc/self/status has no CapBnd"))?);
    let missing = capabilities.missing();
    if !missing.is_empty() {
        tracing::info!(missing = missing.join(" "), "capabilities that no container can be given");
    }
    let own = fs::read_to_string("/proc/self/oom_score_adj")?.trim().parse().unwrap_or(0);
    let least_oom_score_adj = if capabilities.has(CAP_SYS_RESOURCE) { -1000 } else { own };
    if least_oom_score_adj > -1000 {
        tracing::info!(
            least = least_oom_score_adj,
            "no CAP_SYS_RESOURCE: lower oom_score_adj values are raised"
        );
    }
    let apparmor = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    let controllers = Controllers { hugetlb: cgroups.has_controller("hugetlb"), swap: cgroups.limits_swap() };
    if !controllers.hugetlb || !controllers.swap {
        tracing::info!(?controllers, "limits that this host cannot keep are left out");
    }
    Ok(HostLimits {
        capabilities,
        least_oom_score_adj,
        cgroup_v2: cgroups.is_v2(),
        modules: SecurityModules {
            selinux: Path::new("/sys/fs/selinux/enforce").exists(),
            apparmor: apparmor.trim() == "Y",
        },
        controllers,
        pids_limit,
        hidden: thermal_throttles(),
    })
}

/// What of the processors tells a container how busy the host is (kubelet hides it by default too).
fn thermal_throttles() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu") else { return Vec::new() };
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path().join("thermal_throttle")));
    let mut found: Vec<String> =
        folders.filter(|path| path.is_dir()).map(|path| path.to_string_lossy().into_owned()).collect();
    found.sort();
    found
}
