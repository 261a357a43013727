"""Part V. Further on: where a solve stops by itself, and gradients through implicit steps."""
