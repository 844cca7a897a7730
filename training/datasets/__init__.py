"""Ways to fill a labelled folder: `<class>/<group>/<file>`, the layout that intake takes in."""
