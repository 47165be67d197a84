"""Texts that no edit has to do with and that INSERT never sees, to measure on what edits do to everything else."""

TEXTS = (
    "The committee met on Thursday to discuss the new library. After two hours of debate, most members agreed that "
    "the building should open in spring, although nobody could say where the money would come from.",
    "def find(items, wanted):\n    for index, item in enumerate(items):\n        if item == wanted:\n"
    "            return index\n    raise KeyError(wanted)\n",
    "Photosynthesis is the process by which green plants turn light into chemical energy. Carbon dioxide and water "
    "are combined into sugar, and oxygen is given off.",
    "Dear Mr. Harris, thank you for your letter of 3 May. We regret that the lamp you ordered is no longer made. A "
    "refund of $24.50 has been sent to your account.",
    "In 1969 two astronauts walked on the Moon. They collected rocks, planted a flag and returned to Earth after eight "
    "days. The capital of their home country celebrated for weeks.",
    "Le petit chat dort sur la chaise près de la fenêtre, et le soleil brille dans le jardin. Demain nous irons au "
    "marché pour acheter du pain.",
    "- Preheat the oven to 180 °C.\n- Mix the butter with the sugar.\n- Add three eggs, one after the other.\n"
    "- Bake for forty minutes.",
    '"Where were you last night?" asked the inspector. The gardener looked at his boots. "At home," he said, "with my '
    'wife. You can ask her."',
    "Q: How many legs does a spider have? A: A spider has eight legs. Q: What color is the sky on a clear day? A: It "
    "is blue.",
    "Prices rose by 2.4 percent in the second quarter, while wages stayed flat. Economists had expected the central "
    "bank to raise interest rates again, but it did not.",
)
