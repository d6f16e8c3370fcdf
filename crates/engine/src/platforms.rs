//! Images for a platform that is asked for, which need not be the host's; and whether this kernel can run it.

use std::path::Path;

use coracle_oci::{Platform, Reference};
use coracle_report::{Diagnostic, TaskId};
use coracle_store::Image;

use crate::images::Refused;
use crate::{During, Failure, Images, Pull, ReadyImage, Result};

/// Where the kernel says which foreign programs it hands to an emulator.
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

impl Images<'_> {
    /// Makes an image ready for a platform: from the store, else from its registry, else, for the host's, baked.
    pub fn ensure_for(
        &self,
        reference: &Reference,
        platform: &Platform,
        pull: Pull,
        parent: Option<TaskId>,
    ) -> Result<ReadyImage> {
        let platform = platform.clone().normalized();
        let name = reference.to_string();
        let host = platform == Platform::host();
        let kept = self.stored_for(reference, &platform)?;
        if host && (kept.is_some() || self.platforms(reference)?.is_empty()) {
            return self.ensure(&name, pull, parent);
        }
        match (pull, kept) {
            (Pull::Missing | Pull::Never, Some(image)) => return Ok(image),
            (Pull::Never, None) => return Err(self.other_platforms(reference, &platform, None)),
            (Pull::Missing | Pull::Always, _) => {}
        }
        match self.pull(reference, &platform, parent) {
            Ok(image) => Ok(image),
            Err(Refused::Unreachable(reason)) => match self.stored_for(reference, &platform)? {
                Some(image) => Ok(image),
                None => Err(self.other_platforms(reference, &platform, Some(reason))),
            },
            Err(refused) => Err(refused.into_failure(reference)),
        }
    }

    fn stored_for(&self, reference: &Reference, platform: &Platform) -> Result<Option<ReadyImage>> {
        let found = self.engine.store.image_for(reference, platform);
        match found.during(format_args!("looking for image {}", reference.familiar()))? {
            Some(image) => self.ready(image),
            None => Ok(None),
        }
    }

    /// Returns what names stand for besides an image: the same for other platforms.
    pub(crate) fn other_images(&self, names: &[Reference], image: &Image) -> Result<Vec<Image>> {
        let mut others = Vec::new();
        for name in names {
            let named = self.engine.store.images_named(name).during("looking for an image's platforms")?;
            others.extend(named.into_iter().filter(|other| other.id != image.id));
        }
        Ok(others)
    }

    /// Removes those of `images` that have lost their names and that no container uses. Returns Docker's lines.
    pub(crate) fn remove_nameless(&self, images: &[Image]) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for image in images {
            let now = self.engine.store.image_by_id(&image.id).during("looking for an image")?;
            let nameless = now.is_some_and(|image| image.references.is_empty());
            if nameless && self.engine.containers().using_image(&image.id)?.is_empty() {
                self.engine.store.remove_image(&image.id, true).during("removing an image")?;
                lines.push(format!("Deleted: {}", image.id));
            }
        }
        Ok(lines)
    }

    /// Returns the platforms for which the store has the image.
    fn platforms(&self, reference: &Reference) -> Result<Vec<Platform>> {
        let images = self.engine.store.images_named(reference).during("looking for an image's platforms")?;
        Ok(images
            .into_iter()
            .map(|image| {
                let config = image.config;
                Platform { os: config.os, architecture: config.architecture, variant: config.variant }
            })
            .collect())
    }

    fn other_platforms(
        &self,
        reference: &Reference,
        platform: &Platform,
        unreachable: Option<String>,
    ) -> Failure {
        let message = format!("there is no image {} for {platform}", reference.familiar());
        let mut diagnostic = Diagnostic::error("no-platform", message);
        let others = self.platforms(reference).unwrap_or_default();
        if !others.is_empty() {
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            diagnostic = diagnostic.with_note(format!("the store has it for {}", others.join(", ")));
        }
        if let Some(reason) = unreachable {
            diagnostic = diagnostic
                .with_note(format!("{} cannot be reached: {reason}", reference.registry()))
                .with_note("stand-ins are baked for the host's platform only");
        }
        let failure = Failure::user(diagnostic);
        if *platform == Platform::host() {
            return failure;
        }
        failure.with_hint(
            "to compile for another platform, begin the stage that compiles with `FROM --platform=$BUILDPLATFORM`",
        )
    }
}

/// Returns whether the kernel hands a program with this head to an emulator; `None` when it does not say.
pub(crate) fn emulated(head: &[u8]) -> Option<bool> {
    emulated_by(Path::new(BINFMT), head)
}

fn emulated_by(directory: &Path, head: &[u8]) -> Option<bool> {
    // Not mounted, it is an empty directory; mounted, it says whether it is on.
    let status = std::fs::read_to_string(directory.join("status")).ok()?;
    if status.trim() != "enabled" {
        return Some(false);
    }
    let entries = std::fs::read_dir(directory).ok()?.flatten();
    Some(
        entries
            .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
            .any(|text| matches(&text, head)),
    )
}

/// Returns whether a registration (Linux: admin-guide/binfmt-misc) is for programs that begin so.
fn matches(registration: &str, head: &[u8]) -> bool {
    let field = |name: &str| {
        registration
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|rest| rest.trim_start_matches(':').trim())
    };
    if registration.lines().next() != Some("enabled") {
        return false;
    }
    let Some(magic) = field("magic").and_then(|text| hex::decode(text).ok()) else { return false };
    let offset = field("offset").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mask = field("mask").and_then(|text| hex::decode(text).ok()).unwrap_or_default();
    let Some(part) = head.get(offset..offset + magic.len()) else { return false };
    part.iter().zip(&magic).enumerate().all(|(index, (byte, magic))| {
        let mask = mask.get(index).copied().unwrap_or(0xff);
        byte & mask == magic & mask
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `qemu-user-static` registers for arm64.
    const ARM64: &str = "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: F\noffset 0\nmagic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn registrations_say_what_is_emulated() {
        let mut head = [0; 64];
        head[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        (head[16], head[18]) = (3, 183);
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        assert_eq!(emulated_by(directory.path(), &head), None);
        write("status", "enabled\n");
        write("register", "");
        assert_eq!(emulated_by(directory.path(), &head), Some(false));
        write("qemu-aarch64", ARM64);
        assert_eq!(emulated_by(directory.path(), &head), Some(true));
        assert_eq!(emulated_by(directory.path(), &head[..18]), Some(false));
        head[18] = 243;
        assert_eq!(emulated_by(directory.path(), &head), Some(false));
        head[18] = 183;
        write("qemu-aarch64", &ARM64.replace("enabled", "disabled"));
        assert_eq!(emulated_by(directory.path(), &head), Some(false));
        write("qemu-aarch64", ARM64);
        write("status", "disabled\n");
        assert_eq!(emulated_by(directory.path(), &head), Some(false));
    }
}
