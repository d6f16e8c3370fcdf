//! Ports as `EXPOSE` takes them: `80`, `80/udp`, `7000-7010`, and the forms that it should not.

/// What is remarkable about a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remarks {
    /// The protocol is not in lower case.
    pub protocol_case: bool,
    /// An address or a port of the host stands before it.
    pub mapping: bool,
}

/// Returns what is remarkable about a port; `None` when it is no port.
pub(crate) fn remarks(port: &str) -> Option<Remarks> {
    let parts: Vec<&str> = port.split(':').collect();
    let (last, before) = parts.split_last()?;
    let (number, protocol) = last.split_once('/').unwrap_or((last, ""));
    if number.is_empty() || !matches!(protocol.to_lowercase().as_str(), "" | "tcp" | "udp" | "sctp") {
        return None;
    }
    Some(Remarks {
        protocol_case: protocol != protocol.to_lowercase(),
        mapping: before.iter().any(|part| !part.is_empty()),
    })
}
