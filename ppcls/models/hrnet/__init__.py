"""HRNet, without and with squeeze-and-excitation."""
