"""The `badgateway` command: words in, calls to `drills` and `deployer.client` out; no logic of its own."""
