"""`python -m terratunnel` is the same program as `terratunnel`."""

from terratunnel.cli.main import main

main(prog_name="terratunnel")
