//! Options of `coracle build` that take results from other machines and give them away.

use coracle_engine::{CacheFrom, CacheTo};

/// Where the build cache comes from and goes to.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cache")]
pub struct CacheArgs {
    /// Look for results of other builds: NAME, type=registry,ref=NAME or type=local,src=DIR[,tag=TAG].
    #[arg(long, value_name = "PLACE", value_parser = from)]
    pub cache_from: Vec<CacheFrom>,
    /// Leave the build's results: type=registry,ref=NAME, type=local,dest=DIR[,tag=TAG] or type=inline; with
    /// mode=min|max, compression=gzip|zstd|uncompressed, compression-level=N, mounts=true (the content of cache
    /// mounts goes along), ignore-error=true.
    #[arg(long, value_name = "PLACE", value_parser = to)]
    pub cache_to: Vec<CacheTo>,
}

fn from(text: &str) -> Result<CacheFrom, String> {
    text.parse()
}

fn to(text: &str) -> Result<CacheTo, String> {
    text.parse()
}
