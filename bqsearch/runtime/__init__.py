"""Running networks: LiteRT for scores and calibration."""
