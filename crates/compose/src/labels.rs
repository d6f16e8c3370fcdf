//! The labels by which what belongs to a project is found again: Docker Compose's own, so that its tools see it too.

/// The project's name.
pub const PROJECT: &str = "com.docker.compose.project";
/// The service's name.
pub const SERVICE: &str = "com.docker.compose.service";
/// Which replica it is, from 1.
pub const CONTAINER_NUMBER: &str = "com.docker.compose.container-number";
/// The version of Docker Compose whose rules the labels follow.
pub const VERSION: &str = "com.docker.compose.version";
/// The value of [`VERSION`].
pub const COMPOSE_VERSION: &str = "2.40.3";
/// What tells containers of a one-time `run` apart: random.
pub const SLUG: &str = "com.docker.compose.slug";
/// Digest of all that a container or network was made from.
pub const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// `True` for the container of a one-time `run`.
pub const ONE_OFF: &str = "com.docker.compose.oneoff";
/// Services that come before it: `name:condition:restart`, separated by commas.
pub const DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// The id of its image.
pub const IMAGE: &str = "com.docker.compose.image";
/// The project's directory.
pub const WORKING_DIRECTORY: &str = "com.docker.compose.project.working_dir";
/// The project's files, separated by commas.
pub const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
/// The key of a network under `networks`.
pub const NETWORK: &str = "com.docker.compose.network";
/// The key of a volume under `volumes`.
pub const VOLUME: &str = "com.docker.compose.volume";
/// Marks a volume that no file names (Docker's own label).
pub const ANONYMOUS_VOLUME: &str = "com.docker.volume.anonymous";
