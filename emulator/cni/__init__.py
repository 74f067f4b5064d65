"""Network plugins: one room each, a module of the plugin's name."""
