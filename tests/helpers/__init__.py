"""What several tests share: oracles, samples and stand-ins. Import as `from helpers import ...`."""
