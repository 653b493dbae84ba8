"""Its being here lets the tests of the folders below import what stands beside it."""
