//! The arguments of every command.
//!
//! Never: a default that the configuration knows.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Inputs;

/// What the manual page and `--help` end with.
const AFTER: &str = "Exit codes: 0 done; 1 failed; 2 wrong usage; 3 bad configuration; 4 already running or locked; \
    5 host unfit; 6 daemon unreachable.

Lines of ours in a container's log, on stderr: `[taffrail] N bytes of output lost: disk full`; and `[taffrail] the writer of \
    this log was replaced here: up to N bytes of output may be missing`, where a shim was killed in the middle of a write \
    and its successor cannot know how much of it came into the file (the log was cut just then, or the disk was full).";

/// Kubernetes container runtime: a CRI daemon with one tiny supervisor per container.
#[derive(Debug, Parser)]
#[command(name = "taffrail", version, about, long_about = None, propagate_version = true)]
#[command(after_help = "Exit codes: 0 done; 1 failed; 2 wrong usage; 3 bad configuration; \
    4 already running or locked; 5 host unfit; 6 daemon unreachable.")]
#[command(after_long_help = AFTER)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon, in the foreground.
    Serve(ServeArguments),
    /// See it work: a pod, its log, an exec, the daemon killed and started again. Half a minute, cleans up.
    Quickstart(QuickstartArguments),
    /// Show the effective configuration and where each value comes from.
    Config(ConfigArguments),
    /// Look at this host: kernel, cgroups, runtimes, overlay; what is missing, and the cure.
    Check(ConfigArguments),
    /// Pull, import, list and remove images.
    Image(ImageArguments),
    /// Show the daemon, what is stuck, and the shim of each container.
    Status(StatusArguments),
    /// Show what was done with a pod or a container, step by step, and what it waits for now.
    Explain(ExplainArguments),
    /// Show the version.
    Version(JsonArguments),
    /// Write the manual page to stdout, or the pages of all commands into a folder.
    #[command(hide = true)]
    Man(ManArguments),
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(super) struct ManArguments {
    /// Folder for a page of each command: taffrail.8, taffrail-serve.8, ...
    #[arg(long, value_name = "DIR")]
    pub(super) into: Option<PathBuf>,
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ConfigSources {
    /// Configuration file [default: /etc/taffrail/config.toml, where it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of drop-ins, read by name [default: /etc/taffrail/config.d, where it is there]
    #[arg(long, value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// What survives a reboot [default: /var/lib/taffrail]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// What does not [default: /run/taffrail]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Socket of the CRI [default: STATE/taffrail.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Set a configuration key; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

impl ConfigSources {
    /// As the configuration wants it.
    pub(super) fn inputs(&self) -> Inputs {
        let path = |path: &Option<PathBuf>| {
            path.as_ref()
                .map(|p| std::path::absolute(p).unwrap_or_else(|_| p.clone()).to_string_lossy().into_owned())
        };
        let flags = [
            ("--root", "root", path(&self.root)),
            ("--state", "state", path(&self.state)),
            ("--socket", "socket", path(&self.socket)),
            ("--log-level", "log_level", self.log_level.clone()),
        ];
        Inputs {
            file: self.config.clone(),
            dir: self.config_dir.clone(),
            sets: self.sets.clone(),
            flags: flags.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?))).collect(),
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    #[command(flatten)]
    pub(super) sources: ConfigSources,
}

#[derive(Debug, Args)]
pub(super) struct ConfigArguments {
    #[command(flatten)]
    pub(super) sources: ConfigSources,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct QuickstartArguments {
    /// Leave the daemon serving at the end, and print the crictl lines to try
    #[arg(long)]
    pub(super) keep: bool,
}

/// How to reach a daemon.
#[derive(Debug, Clone, Args)]
pub(super) struct Client {
    /// Socket of the daemon [default: TAFFRAIL_SOCKET, else /run/taffrail/taffrail.sock]
    #[arg(long, value_name = "PATH", global = true)]
    pub(super) socket: Option<PathBuf>,
}

/// What the columns of `status` mean.
const STATUS_AFTER: &str = "The first lines are the daemon, the keeper, and how much is under way; what takes longer than it should \
    follows, with its step. Columns: CONTAINER the beginning of its id; SHIM and INIT process ids, `-` where there is none; \
    GENERATION how many shims of this container were killed and replaced. `keeper: none answers`: a shim that is killed now \
    is not replaced; the daemon starts another keeper by itself.";

#[derive(Debug, Args)]
#[command(after_long_help = STATUS_AFTER)]
pub(super) struct StatusArguments {
    #[command(flatten)]
    pub(super) client: Client,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    #[command(flatten)]
    pub(super) client: Client,
    /// A pod or a container: the beginning of its id, its name, NAMESPACE/POD or NAMESPACE/POD/CONTAINER
    pub(super) object: String,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct JsonArguments {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ImageArguments {
    #[command(flatten)]
    pub(super) client: Client,
    #[command(subcommand)]
    pub(super) command: ImageCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum ImageCommand {
    /// Pull an image from its registry
    Pull {
        /// Its name, such as registry.example.com/path/name:tag
        name: String,
        /// Read `username:password` from standard input
        #[arg(long, conflicts_with = "creds_file")]
        creds_stdin: bool,
        /// Read `username:password` from this file
        #[arg(long, value_name = "FILE")]
        creds_file: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Import an OCI layout (folder or tar) or a `docker save` tar
    Import {
        /// The file or folder
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List images
    #[command(visible_alias = "ls")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove images, with all their tags
    #[command(visible_alias = "rm")]
    Remove {
        /// Names, digests or ids
        #[arg(required = true)]
        images: Vec<String>,
    },
}
