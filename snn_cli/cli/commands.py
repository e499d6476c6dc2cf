"""The commands there are."""

COMMANDS = {
    "solve": "snn_cli.cli.solve",
    "simulate": "snn_cli.cli.simulate",
    "verify": "snn_cli.cli.verify",
    "train": "snn_cli.cli.train",
    "analyze": "snn_cli.cli.analyze",
    "export": "snn_cli.cli.export",
}
"""Name -> module that defines ``command``; loaded when asked for."""
