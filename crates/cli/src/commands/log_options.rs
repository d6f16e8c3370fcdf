//! `--log-driver` and `--log-opt`: Docker's options of the drivers `json-file` and `local`.

use coracle_container::LogOptions;
use coracle_engine::{Failure, Result};

use super::flag_error::bad_flag;
use crate::values;

const KNOWN: &str = "known are max-size, max-file, compress, mode, max-buffer-size, labels and env";

/// Reads the options of a container's log.
pub fn parse(driver: &str, options: &[String]) -> Result<LogOptions> {
    let mut log = LogOptions { disabled: driver == "none", ..LogOptions::default() };
    let mut buffer = None;
    for text in options {
        let Some((name, value)) = text.split_once('=') else {
            return Err(bad(format!("log option `{text}` is not of the form NAME=VALUE")));
        };
        if log.disabled {
            return Err(bad(format!("log driver `none` has no option `{name}`")));
        }
        match name {
            "max-size" if value == "-1" => log.max_size = u64::MAX,
            "max-size" => log.max_size = size(name, value)?,
            "max-file" => {
                let count = value.parse().ok().filter(|count| *count > 0);
                log.max_files = count.ok_or_else(|| bad(format!("max-file `{value}` is no count")))?;
            }
            "compress" => {
                log.compress = match value {
                    "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err(bad(format!("compress `{value}` is neither true nor false"))),
                }
            }
            "mode" => {
                log.non_blocking = match value {
                    "blocking" => false,
                    "non-blocking" => true,
                    _ => return Err(bad(format!("mode `{value}` is neither blocking nor non-blocking"))),
                }
            }
            "max-buffer-size" => buffer = Some(size(name, value)?),
            "labels" => log.labels = list(value),
            "env" => log.variables = list(value),
            // A note of Docker's beside each line; nobody reads it here.
            "tag" => {}
            other => return Err(bad(format!("log option `{other}` is not known"))),
        }
    }
    if let Some(buffer) = buffer {
        if !log.non_blocking {
            return Err(bad("max-buffer-size needs mode=non-blocking".to_owned()));
        }
        log.buffer = buffer;
    }
    Ok(log)
}

fn list(value: &str) -> Vec<String> {
    value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn size(name: &str, value: &str) -> Result<u64> {
    match values::bytes(value) {
        Ok(0) => Err(bad(format!("{name} `{value}` leaves no room"))),
        Ok(bytes) => Ok(bytes),
        Err(why) => Err(bad(format!("{name}: {why}"))),
    }
}

fn bad(message: String) -> Failure {
    bad_flag("--log-opt", &format!("{message}; {KNOWN}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[&str]) -> Result<LogOptions, String> {
        let options: Vec<String> = options.iter().map(|text| (*text).to_owned()).collect();
        parse("json-file", &options).map_err(|failure| failure.first().message.clone())
    }

    #[test]
    fn docker_s_options() {
        let usual = LogOptions::default();
        assert_eq!((usual.max_size, usual.max_files, usual.compress), (10 << 20, 5, true));
        assert_eq!(read(&[]).unwrap(), usual);
        let log = read(&[
            "max-size=2k",
            "max-file=1",
            "compress=false",
            "mode=non-blocking",
            "max-buffer-size=4m",
            "tag=x",
        ]);
        let expected = LogOptions {
            disabled: false,
            max_size: 2048,
            max_files: 1,
            compress: false,
            non_blocking: true,
            buffer: 4 << 20,
            ..LogOptions::default()
        };
        assert_eq!(log.unwrap(), expected);
        let log = read(&["labels=a,b", "env=C"]).unwrap();
        assert_eq!((log.labels, log.variables), (vec!["a".to_owned(), "b".to_owned()], vec!["C".to_owned()]));
        assert_eq!(read(&["max-size=-1"]).unwrap().max_size, u64::MAX);
    }

    #[test]
    fn nonsense_is_refused() {
        for (option, word) in [
            ("max-size", "NAME=VALUE"),
            ("max-size=big", "max-size"),
            ("max-size=0", "no room"),
            ("max-file=0", "no count"),
            ("max-file=x", "no count"),
            ("compress=perhaps", "compress"),
            ("mode=fast", "mode"),
            ("max-buffer-size=1m", "needs mode"),
            ("syslog-address=udp://x", "syslog-address"),
        ] {
            let message = read(&[option]).unwrap_err();
            assert!(message.contains(word), "{option}: {message}");
        }
        assert!(parse("none", &["max-size=1m".to_owned()]).is_err());
        assert!(parse("none", &[]).unwrap().disabled);
    }
}
