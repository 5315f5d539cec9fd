//! RuntimeConfig: the cgroup driver, which the kubelet takes over.
//!
//! Never: changes while pods run.

use cri_api::v1;

use crate::{cgroups::Cgroups, config::CgroupDriver};

pub(in crate::cri) fn handle(cgroups: &Cgroups) -> v1::RuntimeConfigResponse {
    let driver = match cgroups.driver() {
        CgroupDriver::Systemd => v1::CgroupDriver::Systemd,
        CgroupDriver::Cgroupfs => v1::CgroupDriver::Cgroupfs,
    };
    v1::RuntimeConfigResponse { linux: Some(v1::LinuxRuntimeConfiguration { cgroup_driver: driver as i32 }) }
}
