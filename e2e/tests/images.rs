//! Container images without Docker.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

fn pack(program: &Path, out: &Path) -> Vec<u8> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/images/pack.sh");
    let status = Command::new(script)
        .arg("lockkeeper/test:1")
        .arg(out)
        .arg(program)
        .status()
        .unwrap();
    assert!(status.success());
    fs::read(out).unwrap()
}

#[test]
fn the_same_program_gives_the_same_archive_and_another_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (program, out) = (dir.path().join("program"), dir.path().join("image.tar"));
    fs::write(&program, "one").unwrap();
    let first = pack(&program, &out);
    // A copy with another time and another mode, as another build tree has it.
    let an_hour_ago = SystemTime::now() - Duration::from_hours(1);
    fs::File::options()
        .append(true)
        .open(&program)
        .unwrap()
        .set_modified(an_hour_ago)
        .unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    assert!(
        first == pack(&program, &out),
        "the second archive of the same program differs"
    );

    fs::write(&program, "two").unwrap();
    assert!(first != pack(&program, &out), "another program has the same archive");
}
