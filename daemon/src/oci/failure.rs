//! What a runtime's words mean for the exit code of a container that did not start.
//!
//! Shells and container runtimes agree: 127 not found, 126 not executable, 128 anything else. Owns: this
//! mapping. Never: changes the words.

/// The exit code of a container whose start failed with this message.
pub fn exit_code_of(message: &str) -> i32 {
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let about_program = says(&["exec:", "exec failed", "executable", "execve", "exec `"]);
    if says(&["executable file not found", "executable file `"])
        || (about_program && says(&["no such file or directory", "not found"]))
    {
        127
    } else if about_program && says(&["permission denied", "is a directory", "exec format error"]) {
        126
    } else {
        128
    }
}

#[cfg(test)]
mod tests {
    use super::exit_code_of;

    #[test]
    fn the_words_of_runc_and_crun_are_understood() {
        for (message, code) in [
            (r#"exec: "nope": executable file not found in $PATH"#, 127),
            (r#"exec: "/nope": stat /nope: no such file or directory"#, 127),
            ("executable file `nope` not found in $PATH: No such file or directory", 127),
            (r#"exec: "/etc/passwd": permission denied"#, 126),
            (r#"error mounting "/x": no such file or directory"#, 128),
            ("", 128),
        ] {
            assert_eq!(exit_code_of(message), code, "{message}");
        }
    }
}
