"""The PPO update: advantage estimators, packing of responses into rows, losses, train state and the update itself."""
