"""A stand-in for `nbkit.run.stage.Run` where trainings are kept as artifacts."""

from nbkit.run import files


class KeptOnce:
    """The part of Run that a training uses: builds into a folder, again only for another key."""

    def __init__(self, folder, stage):
        self.dir, self.stage, self.keys, self.built, self.seconds = folder, stage, {}, [], {}

    def once(self, name, build, **key):
        out = self.dir / name
        if self.keys.get(name) != (key := files.digest(files.plain(key))):
            out.mkdir(parents=True, exist_ok=True)
            build(out)
            self.keys[name] = key
            self.built.append(name)
        return out

    def timing(self, **seconds):
        self.seconds |= seconds
