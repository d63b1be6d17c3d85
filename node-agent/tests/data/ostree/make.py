"""Writes the files of this directory with GLib's own GVariant, as ostree does (ostree-sysroot-deploy.c)."""
import pathlib

from gi.repository import GLib

HERE = pathlib.Path(__file__).parent
CORPUS = HERE.parents[3] / "fuzz/corpus/staged-deployment"
CHECKSUM = "1f3a227ae55dc6737c530b586c029fccdc93b10d00df1f8c622dc8b55634ee12"


def text(value):
    return GLib.Variant("s", value)


def deployment(checksum):
    values = {"name": text(f"{checksum}.0"), "osname": text("fedora-coreos"), "bootcsum": text("0" * 64)}
    return GLib.Variant("a{sv}", values)


def write(directory, name, values):
    directory.mkdir(exist_ok=True)
    (directory / name).write_bytes(GLib.Variant("a{sv}", values).get_data_as_bytes().get_data())


write(HERE, "mixed", {
    "name": text("a text"),
    "empty": text(""),
    "truth": GLib.Variant("b", True),
    "inner": GLib.Variant("a{sv}", {"long": text("x" * 300)}),
})
target = {"target": deployment(CHECKSUM)}
merge = {"merge-deployment": deployment("ab" * 32)}
kargs = {"kargs": GLib.Variant("as", ["root=UUID=1", "rw", "console=ttyS0"])}
write(HERE, "staged", target | merge | kargs)
write(HERE, "locked", target | {"locked": GLib.Variant("b", True)} | merge)
write(HERE, "unlocked", target | {"locked": GLib.Variant("b", False)} | merge)
for name in ["staged", "locked", "unlocked"]:
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / name).write_bytes((HERE / name).read_bytes())
