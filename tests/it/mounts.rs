//! What a container sees of the host: mounts, devices, volumes.
