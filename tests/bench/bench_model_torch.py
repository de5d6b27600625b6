"""The cases of bench_model.c in PyTorch: prints tokens a second.

usage: bench_model_torch.py mini-fp32|mini-bf16|gpt2-fp32|gpt2-bf16|decode-fp32|decode-bf16
Training is compiled (torch.compile) and steps with AdamW; decoding is greedy with a cache. bf16 is
autocast in training, and bf16 weights in decoding.
"""
import os, sys, time
import torch
from torch import nn
from torch.nn import functional as F

case, precision = sys.argv[1].rsplit("-", 1)
torch.manual_seed(1)
torch.set_num_threads(len(os.sched_getaffinity(0)))
MINI = case == "mini"
V, P, C, NH, FF, L = (5000, 128, 256, 3, 128, 2) if MINI else (50257, 1024, 768, 12, 3072, 12)
HS = C // NH


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(C, 3 * NH * HS), nn.Linear(NH * HS, C)
        self.up, self.down = nn.Linear(C, FF), nn.Linear(FF, C)
        self.norm1, self.norm2 = nn.LayerNorm(C), nn.LayerNorm(C)

    def attention(self, x, cache):
        B, T, _ = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, NH, HS).permute(2, 0, 3, 1, 4)
        if cache is not None:
            if cache:
                k, v = torch.cat([cache[0], k], 2), torch.cat([cache[1], v], 2)
            cache[:] = [k, v]
        a = F.scaled_dot_product_attention(q, k, v, is_causal=cache is None)
        return self.out(a.transpose(1, 2).reshape(B, T, NH * HS))

    def forward(self, x, cache=None):
        if MINI:
            x = self.norm1(x + self.attention(x, cache))
            return self.norm2(x + self.down(F.relu(self.up(x))))
        x = x + self.attention(self.norm1(x), cache)
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.token, self.position = nn.Embedding(V, C), nn.Embedding(P, C)
        self.blocks = nn.ModuleList(Block() for _ in range(L))
        self.norm = nn.Identity() if MINI else nn.LayerNorm(C)
        self.head = nn.Linear(C, V, bias=MINI)
        if not MINI:
            self.head.weight = self.token.weight

    def forward(self, ids, at=0, caches=None):
        x = self.token(ids) + self.position(torch.arange(at, at + ids.shape[1]))
        for i, block in enumerate(self.blocks):
            x = block(x, None if caches is None else caches[i])
        return self.head(self.norm(x))


def train():
    B, T = (64, 128) if MINI else (4, 64)
    model = GPT()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, eps=1e-8, fused=True)
    ids = torch.randint(1, V, (B, T))

    @torch.compile
    def loss_of(ids):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = model(ids)
        return F.cross_entropy(logits.float().view(-1, V), ids.view(-1))

    best = 1e9
    for step in range(8):
        start = time.perf_counter()
        loss_of(ids).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)    # the norm is part of a step
        optimizer.step()
        optimizer.zero_grad()
        if step >= 2:
            best = min(best, time.perf_counter() - start)
    return B * T / best


@torch.inference_mode()
def decode(count=64):
    model = GPT().to(torch.bfloat16 if precision == "bf16" else torch.float32)
    best = 1e9
    for run in range(3):
        caches, ids = [[] for _ in range(L)], torch.ones(1, 1, dtype=torch.long)
        start = time.perf_counter()
        for at in range(count):
            ids = model(ids, at, caches)[:, -1].argmax(-1, keepdim=True)
        best = min(best, time.perf_counter() - start)
    return count / best


print(decode() if case == "decode" else train())
