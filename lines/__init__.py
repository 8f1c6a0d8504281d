"""The lowest layer. Whatever of ours is loaded, this is: so it is here that zones are settled."""

from lines import zones

zones.use_package()
