//! Bakes references into a directory: `bake OUT CACHE REFERENCE...`. For trying a recipe without the store.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;

use coracle_base::{BakeOptions, Baker, Recipes};
use coracle_report::{Event, Reporter};

struct Lines;

impl Reporter for Lines {
    fn event(&self, event: Event) {
        match event {
            Event::State { state, .. } => eprintln!("  {state}"),
            Event::Output { line, .. } if !line.starts_with("I: ") => eprintln!("  | {line}"),
            _ => {}
        }
    }
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(out), Some(cache)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: bake OUT CACHE REFERENCE...");
    };
    let out = PathBuf::from(out);
    let baker = Baker::new(BakeOptions { cache: Some(cache.into()), ..BakeOptions::default() });
    let recipes = Recipes::load_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../bases").as_ref())?;
    for text in arguments {
        let found = recipes
            .resolve(&text.parse()?)
            .ok_or_else(|| anyhow::anyhow!("no recipe stands for {text}"))??;
        let baked = baker.bake(&found, &out, &Lines, None).map_err(|error| {
            let diagnostic = error.to_diagnostic();
            anyhow::anyhow!("{diagnostic}\n{}", diagnostic.notes.join("\n"))
        })?;
        let name = text.replace([':', '/'], "_");
        std::fs::rename(&baked.layer_tar, out.join(format!("{name}.tar")))?;
        std::fs::write(out.join(format!("{name}.config.json")), baked.config.to_bytes())?;
        println!("{text} {} {} MB", baked.diff_id, baked.layer_size / 1_000_000);
    }
    Ok(())
}
