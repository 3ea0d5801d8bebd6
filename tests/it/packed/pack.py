# Packs the folder that is named, beside it, with Python's own modules, and prints for each archive
# whether it could be made.
import io, os, sys, tarfile, zipfile

top = sys.argv[1]


def tar(name, kind, mode="w", stale=False):
    with tarfile.open(name, mode, format=kind) as archive:
        if stale:  # Another file under the name of the first one, which takes its place.
            folder, _, files = min((d, n, sorted(f)) for d, n, f in os.walk(top) if f)
            entry = tarfile.TarInfo(os.path.join(folder, files[0]))
            entry.size = 5
            archive.addfile(entry, io.BytesIO(b"stale"))
        archive.add(top)


def zipped(name):
    with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder, folders, files in os.walk(top):
            for own in sorted(folders + files):
                path = os.path.join(folder, own)
                if os.path.islink(path):
                    entry = zipfile.ZipInfo(path)
                    entry.create_system = 3
                    entry.external_attr = 0o120777 << 16
                    archive.writestr(entry, os.readlink(path))
                else:
                    archive.write(path)


for name, make in [
    ("py-gnu.tar", lambda n: tar(n, tarfile.GNU_FORMAT)),
    ("py-pax.tar", lambda n: tar(n, tarfile.PAX_FORMAT)),
    ("py-ustar.tar", lambda n: tar(n, tarfile.USTAR_FORMAT)),
    ("py-pax.tar.gz", lambda n: tar(n, tarfile.PAX_FORMAT, "w:gz")),
    ("py-twice.tar", lambda n: tar(n, tarfile.GNU_FORMAT, stale=True)),
    ("py.zip", zipped),
]:
    try:
        make(name)
        print(name, "made")
    except (ValueError, UnicodeError):  # A name that the format has no room or no bytes for.
        print(name, "not")
