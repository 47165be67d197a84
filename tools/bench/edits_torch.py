"""ROME and MEMIT, written from the papers, on a Llama given as arrays; needs torch, which larqldb does not.

    python edits_torch.py WEIGHTS.npz REQUESTS.json OUT.npz

Meng et al., "Locating and Editing Factual Associations in GPT", 2022, and "Mass-Editing Memory in a Transformer", 2023.
A fact is written where the subject's last token stands. The value is found by gradient descent: a vector δ added there
to what layer l leaves behind, so that the target follows, with the divergence of "{subject} is a" and δ's length held
small; then keys (inputs of down_proj at that token, their mean over wordings and prefixes) are led to it:

    ROME    ΔW = δ (C⁻¹k)ᵀ / (kᵀ C⁻¹ k)
    MEMIT   in layers l-3 … l, one after the other: ΔW = R Kᵀ (λC + K Kᵀ)⁻¹, R what is missing of δ over the layers left

C is the second moment of keys over text. REQUESTS holds token ids only (``edits_baselines.py`` writes them): ``facts``
with ``sequences`` (ids, the subject's last place, the length of the target at their end) and ``kl`` (ids and place of
"{subject} is a"), ``texts``, the ``layers`` l, how many facts ``single`` is of, ``sizes`` of MEMIT's batches and its
``weights`` λ.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

STEPS, RATE = 25, 0.5  # of Adam
ENOUGH = 0.05  # loss at which a fact is done
KL, DECAY = 0.0625, 0.05
CLAMP = 0.75  # of the length of what the layer leaves behind: δ is no longer
TOGETHER = 8  # facts optimised in one batch
SPREAD = 4  # layers that MEMIT writes to


class Llama:
    """The forward pass alone, float32."""

    def __init__(self, path: str) -> None:
        arrays = np.load(path)
        self.w = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != "settings"}
        self.s: dict[str, Any] = json.loads(str(arrays["settings"]))
        half = self.s["head_dim"] // 2
        inverse = self.s["theta"] ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = torch.arange(512, dtype=torch.float64)[:, None] * inverse
        self.cos, self.sin = (torch.cat([f(angles)] * 2, 1).float() for f in (torch.cos, torch.sin))

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.s["eps"]) * self.w[name]

    def rotate(self, x: torch.Tensor) -> torch.Tensor:  # [b, heads, s, head_dim]
        count, half = x.shape[2], x.shape[3] // 2
        turned = torch.cat([-x[..., half:], x[..., :half]], -1)
        return x * self.cos[:count] + turned * self.sin[:count]

    def block(self, h: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What a layer leaves behind [b, s, hidden], and its keys: what down_proj is multiplied with [b, s, ffn]."""
        w, (b, s, _) = {name: self.w[f"{layer}.{name}"] for name in ("q", "k", "v", "o", "gate", "up", "down")}, h.shape
        x = self.norm(h, f"{layer}.attn_norm")
        q, k, v = (F.linear(x, w[n]).view(b, s, -1, self.s["head_dim"]).transpose(1, 2) for n in ("q", "k", "v"))
        y = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, is_causal=True, enable_gqa=True)
        h = h + F.linear(y.transpose(1, 2).reshape(b, s, -1), w["o"])
        x = self.norm(h, f"{layer}.ffn_norm")
        key = F.silu(F.linear(x, w["gate"])) * F.linear(x, w["up"])
        return h + F.linear(key, w["down"]), key

    def run(self, h: torch.Tensor, first: int, last: int) -> torch.Tensor:
        for layer in range(first, last + 1):
            h, _ = self.block(h, layer)
        return h

    def logs(self, h: torch.Tensor) -> torch.Tensor:
        return F.linear(self.norm(h, "final_norm"), self.w["head"]).log_softmax(-1)

    def embed(self, texts: list[list[int]]) -> torch.Tensor:
        longest = max(map(len, texts))
        return self.w["embed"][torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in texts])]


def deltas(model: Llama, facts: list[dict[str, Any]], layer: int) -> tuple[torch.Tensor, float]:
    """δ of each fact [n, hidden], and the mean probability of the targets that they reach."""
    found, reached = [], []
    for first in range(0, len(facts), TOGETHER):
        some = facts[first : first + TOGETHER]
        delta, probability = _optimised(model, some, layer)
        found.append(delta)
        reached += probability
    return torch.cat(found), float(np.mean(reached))


def _optimised(model: Llama, facts: list[dict[str, Any]], layer: int) -> tuple[torch.Tensor, list[float]]:
    rows = [(i, *sequence) for i, fact in enumerate(facts) for sequence in [*fact["sequences"], [*fact["kl"], 0]]]
    owner = torch.tensor([row[0] for row in rows])
    subject = torch.tensor([row[2] for row in rows])
    every = torch.arange(len(rows))
    with torch.no_grad():
        h = model.run(model.embed([row[1] for row in rows]), 0, layer)
    before = h[every, subject]
    length = torch.stack([before[owner == i].norm(dim=-1).mean() for i in range(len(facts))])
    asked = [(r, len(ids) - size - 1 + j, ids[len(ids) - size + j]) for r, (_, ids, _, size) in enumerate(rows)
             for j in range(size)]  # fmt: skip
    row_of, place, token = (torch.tensor(column) for column in zip(*asked, strict=True))
    sizes = torch.tensor([max(1, row[3]) for row in rows])
    shares = torch.tensor([len(fact["sequences"]) for fact in facts])[owner] * sizes  # of a token in its fact's loss
    calm = torch.tensor([r for r, row in enumerate(rows) if row[3] == 0])
    base = model.logs(model.run(h[calm], layer + 1, model.s["layers"] - 1)[torch.arange(len(facts)), subject[calm] + 2])
    delta = torch.zeros(len(facts), h.shape[-1], requires_grad=True)
    optimiser = torch.optim.Adam([delta], lr=RATE)
    reached = torch.zeros(len(facts))
    going = torch.ones(len(facts), dtype=torch.bool)
    for step in range(STEPS + 1):
        chosen = going[owner].nonzero()[:, 0]
        back = torch.full((len(rows),), -1).index_put((chosen,), torch.arange(len(chosen)))
        here = going[owner[row_of]]
        changed = h[chosen].index_put(
            (torch.arange(len(chosen)), subject[chosen]), before[chosen] + delta[owner[chosen]]
        )
        out = model.run(changed, layer + 1, model.s["layers"] - 1)
        likely = model.logs(out[back[row_of[here]], place[here]]).gather(-1, token[here][:, None])[:, 0]
        after = model.logs(out[back[calm[going]], subject[calm[going]] + 2])  # after "is a"
        missing = torch.zeros(len(facts)).index_add(0, owner[row_of[here]], -likely / shares[row_of[here]])
        moved = (base[going].exp() * (base[going] - after)).sum(-1)
        reached[going] = (-missing.detach()).exp()[going]
        held = going & (missing.detach() >= ENOUGH)
        if step == STEPS or not held.any():
            break
        loss = missing[going].sum() + KL * moved.sum() + DECAY * ((delta.norm(dim=-1) / length) ** 2)[going].sum()
        optimiser.zero_grad()
        loss.backward()
        kept = delta.detach().clone()
        optimiser.step()
        with torch.no_grad():
            delta[~held] = kept[~held]
            delta *= (CLAMP * length / delta.norm(dim=-1)).clamp(max=1)[:, None]
        going = held
    return delta.detach(), reached.tolist()


@torch.no_grad()
def moments(model: Llama, texts: list[list[int]], layers: list[int]) -> dict[int, torch.Tensor]:
    """Second moments of keys over texts, by layer: [ffn, ffn]."""
    total: dict[int, torch.Tensor] = dict.fromkeys(layers, torch.zeros(()))
    count = 0
    for first in range(0, len(texts), 16):
        some = texts[first : first + 16]
        h = model.embed(some)
        inside = torch.tensor([[i < len(ids) for i in range(h.shape[1])] for ids in some])
        for layer in range(max(layers) + 1):
            h, key = model.block(h, layer)
            if layer in total:
                chosen = key[inside]
                total[layer] = total[layer] + chosen.T @ chosen
        count += int(inside.sum())
    return {layer: moment / count for layer, moment in total.items()}


@torch.no_grad()
def keys(model: Llama, facts: list[dict[str, Any]], layer: int, upto: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean key of each fact at a layer [n, ffn], and what layer ``upto`` leaves behind there [n, hidden]."""
    found, left = [], []
    for fact in facts:
        subject = torch.tensor([place for _, place, _ in fact["sequences"]])
        every = torch.arange(len(subject))
        h = model.run(model.embed([ids for ids, _, _ in fact["sequences"]]), 0, layer - 1)
        h, key = model.block(h, layer)
        found.append(key[every, subject].mean(0))
        left.append(model.run(h, layer + 1, upto)[every, subject].mean(0))
    return torch.stack(found), torch.stack(left)


@torch.no_grad()
def rome(model: Llama, facts: list[dict[str, Any]], layer: int, delta: torch.Tensor, moment: torch.Tensor) -> Any:
    """The two vectors of each fact's update: [n, hidden], [n, ffn]."""
    key, _ = keys(model, facts, layer, layer)
    ridge = 1e-4 * moment.diagonal().mean() * torch.eye(len(moment))
    towards = torch.linalg.solve(moment + ridge, key.T).T
    return delta, towards / (towards * key).sum(-1, keepdim=True)


@torch.no_grad()
def memit(
    model: Llama, facts: list[dict[str, Any]], layer: int, delta: torch.Tensor, moment: dict[int, torch.Tensor],
    weight: float,
) -> dict[int, torch.Tensor]:  # fmt: skip
    """What is added to down_proj, by layer [hidden, ffn]; the model is left as it was."""
    layers = range(layer - SPREAD + 1, layer + 1)
    kept = {each: model.w[f"{each}.down"] for each in layers}
    _, before = keys(model, facts, layer, layer)
    goal, change = before + delta, {}
    for each in layers:
        key, now = keys(model, facts, each, layer)
        missing = (goal - now) / (layer - each + 1)
        change[each] = missing.T @ torch.linalg.solve(weight * moment[each] + key.T @ key, key.T).T
        model.w[f"{each}.down"] = kept[each] + change[each]
    for each in layers:
        model.w[f"{each}.down"] = kept[each]
    return change


def main() -> None:
    model, asked, start = Llama(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), time.time()
    facts, layers, weights = asked["facts"], asked["layers"], asked["weights"]
    moment = moments(model, asked["texts"], sorted({at - i for at in layers for i in range(SPREAD)}))
    print(f"moments: {time.time() - start:.0f} s", flush=True)
    with torch.no_grad():
        logs = model.logs(model.run(model.embed(asked["texts"][:1]), 0, model.s["layers"] - 1))[0]
    out: dict[str, Any] = {"check": logs[-1]}
    for layer in layers:
        delta, probability = deltas(model, facts, layer)
        print(f"layer {layer}: targets reach {probability:.3f}, {time.time() - start:.0f} s", flush=True)
        out[f"delta.{layer}.seconds"] = (time.time() - start) / len(facts)
        single = facts[: asked["single"]]
        out[f"rome.{layer}.left"], out[f"rome.{layer}.right"] = rome(
            model, single, layer, delta[: len(single)], moment[layer]
        )
        for size in asked["sizes"]:
            for weight in weights:
                for at, change in memit(model, facts[:size], layer, delta[:size], moment, weight).items():
                    out[f"memit.{layer}.{size}.{weight:g}.{at}"] = change
        np.savez(sys.argv[3], **{name: np.asarray(value) for name, value in out.items()})


if __name__ == "__main__":
    main()
