//! Content under its digest: written whole or not at all, verified on the way in.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;

use coracle_oci::{Digest, Sha256Writer};
use rustix::fs::FlockOperation;
use sha2::{Digest as _, Sha256};

use crate::Store;
use crate::error::{Result, StoreError};
use crate::records::sync_directory;

impl Store {
    /// Stores everything a reader gives, and returns its digest and length.
    pub fn put_blob(&self, mut content: impl Read) -> Result<(Digest, u64)> {
        let partial = self.layout.partial_blobs();
        let fail = |error| StoreError::io("write", &partial, error);
        let mut file = tempfile::Builder::new().prefix("new-").tempfile_in(&partial).map_err(fail)?;
        let mut writer = Sha256Writer::new(file.as_file_mut());
        let mut buffer = vec![0; 256 << 10];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => writer.write_all(&buffer[..count]).map_err(fail)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(StoreError::Source(error)),
            }
        }
        let (_, digest, size) = writer.finish();
        if self.has_blob(&digest) {
            return Ok((digest, size));
        }
        file.as_file().sync_all().map_err(fail)?;
        coracle_fault::hit(coracle_fault::Point::StoreBlobWritten).map_err(fail)?;
        let path = self.layout.blob(&digest);
        file.persist(&path).map_err(|error| StoreError::io("write", &path, error.error))?;
        sync_directory(&self.layout.blobs())?;
        Ok((digest, size))
    }

    /// Returns where a blob lies, whether it is stored or not.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.layout.blob(digest)
    }

    /// Returns whether a blob is stored.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.layout.blob(digest).is_file()
    }

    /// Opens a stored blob.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.layout.blob(digest);
        match File::open(&path) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::Missing(*digest)),
            Err(error) => Err(StoreError::io("open", &path, error)),
        }
    }

    /// Returns a document's bytes, verified; fails when there are more than `limit`.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_blob(digest)?
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| StoreError::io("read", &self.layout.blob(digest), error))?;
        if bytes.len() as u64 > limit {
            return Err(StoreError::TooLarge { digest: *digest, limit });
        }
        let actual = Digest::of(&bytes);
        if actual != *digest {
            return Err(StoreError::Mismatch { expected: *digest, actual });
        }
        Ok(bytes)
    }

    /// Returns all stored blobs with their lengths.
    pub fn blobs(&self) -> Result<Vec<(Digest, u64)>> {
        let mut blobs = Vec::new();
        for path in crate::records::list(&self.layout.blobs())? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Ok(digest) = format!("sha256:{name}").parse() else { continue };
            match path.metadata() {
                Ok(metadata) => blobs.push((digest, metadata.len())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("read", &path, error)),
            }
        }
        Ok(blobs)
    }

    /// Starts, or goes on with, a blob whose digest is known beforehand.
    ///
    /// What an earlier attempt wrote, even one of another process, is kept: the transfer goes on after
    /// [`PartialBlob::written`] bytes. Waits while another process writes the same blob; when that one finished it,
    /// `None` is returned.
    pub fn resume_blob(&self, digest: &Digest) -> Result<Option<PartialBlob>> {
        let path = self.layout.partial_blobs().join(digest.hex());
        loop {
            if self.has_blob(digest) {
                return Ok(None);
            }
            let mut file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(|error| StoreError::io("open", &path, error))?;
            // Closes the race of two downloads of the same layer; the later one waits and then finds it stored.
            match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(StoreError::io("lock", &path, error)),
            }
            let own = rustix::fs::fstat(&file).map_err(|error| StoreError::io("read", &path, error))?;
            let there = rustix::fs::stat(&path).is_ok_and(|there| there.st_ino == own.st_ino);
            if !there || self.has_blob(digest) {
                // Whoever held the lock moved or removed it.
                continue;
            }
            let mut hasher = Sha256::new();
            let mut written = 0;
            let mut buffer = vec![0; 256 << 10];
            loop {
                match file.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => {
                        hasher.update(&buffer[..count]);
                        written += count as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(StoreError::io("read", &path, error)),
                }
            }
            return Ok(Some(PartialBlob {
                store: self.clone(),
                digest: *digest,
                path,
                file,
                hasher,
                written,
            }));
        }
    }
}

/// A blob that is being written; what was written stays when it is dropped, for a later attempt.
pub struct PartialBlob {
    store: Store,
    digest: Digest,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    written: u64,
}

impl PartialBlob {
    /// Returns how many bytes are there.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Forgets what is there.
    pub fn restart(&mut self) -> Result<()> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .map_err(|error| StoreError::io("write", &self.path, error))?;
        self.hasher = Sha256::new();
        self.written = 0;
        Ok(())
    }

    /// Returns another handle to what was written so far, at its beginning.
    pub fn reader(&self) -> Result<File> {
        File::open(&self.path).map_err(|error| StoreError::io("open", &self.path, error))
    }

    /// Removes what is there.
    pub fn discard(self) {
        let _ = std::fs::remove_file(&self.path);
    }

    /// Verifies the blob without storing it: whoever unpacked it on the way has its content already. With wrong content it is
    /// removed, for nothing right can come of it.
    pub fn finish(mut self) -> Result<FinishedBlob> {
        self.verify()?;
        Ok(FinishedBlob { path: self.path, file: self.file })
    }

    fn verify(&mut self) -> Result<()> {
        let actual = Digest::from_raw(std::mem::take(&mut self.hasher).finalize().into());
        if actual != self.digest {
            let _ = std::fs::remove_file(&self.path);
            return Err(StoreError::Mismatch { expected: self.digest, actual });
        }
        Ok(())
    }

    /// Verifies and stores the blob. With wrong content it is removed, for nothing right can come of it.
    pub fn commit(mut self) -> Result<u64> {
        self.verify()?;
        let target = self.store.layout.blob(&self.digest);
        self.file
            .sync_all()
            .and_then(|()| std::fs::rename(&self.path, &target))
            .map_err(|error| StoreError::io("write", &target, error))?;
        sync_directory(&self.store.layout.blobs())?;
        Ok(self.written)
    }
}

/// A blob that was verified and is not stored. While it lives, whoever wants the same blob waits; dropping it removes the file,
/// unless it was moved away.
#[derive(Debug)]
pub struct FinishedBlob {
    path: PathBuf,
    file: File,
}

impl FinishedBlob {
    /// Returns where it lies.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Returns its content, wherever it lies by now.
    pub fn content(&self) -> Result<File> {
        let failed = |error| StoreError::io("read", &self.path, error);
        let mut file = self.file.try_clone().map_err(failed)?;
        file.rewind().map_err(failed)?;
        Ok(file)
    }
}

impl Drop for FinishedBlob {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Write for PartialBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
