"""How much runs where: the plan, the policy that changes it, what is watched, what was measured."""
