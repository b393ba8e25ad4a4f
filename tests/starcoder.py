"""A random StarCoder with a real byte-level vocabulary, for tests of what carries its tokenizer along."""

from pathlib import Path

from workbench.nano.tokenizer import save_tokenizer, train_tokenizer

VOCABULARY = 512
TEXTS = [
    "SELECT c.name, count(*) AS orders FROM customers c JOIN orders o ON o.customer_id = c.id\n",
    "\tWHERE o.total > 1250.50 AND c.city = 'Zürich' GROUP BY c.name ORDER BY orders DESC LIMIT 10;\n",
    "### Schema\nCREATE TABLE customers (id integer, name text);\n\n"
    "### Question\nHow many customers?\n\n### SQL\n```sql\n",
]


def make_starcoder(folder: Path, layers: int = 4, width: int = 256) -> Path:
    """Write a float16 checkpoint of this many layers; the same call gives the same weights."""
    import torch
    from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

    config = GPTBigCodeConfig(
        vocab_size=VOCABULARY, n_positions=512, n_embd=width, n_layer=layers, n_head=width // 64, n_inner=2 * width,
        activation_function="gelu_pytorch_tanh", initializer_range=0.08, bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = GPTBigCodeForCausalLM(config)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += torch.randn_like(parameter) * 0.02  # biases start at zero and would hide a swap
    tokenizer = train_tokenizer(TEXTS, VOCABULARY)
    for i in range(VOCABULARY):
        # Parts of a character and ids without a token have a small logit, so that greedy text is plain text.
        if "\ufffd" in tokenizer.decode([i], skip_special_tokens=False) or tokenizer.id_to_token(i) is None:
            model.transformer.wte.weight.data[i] *= 0.01
    model.half().save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder
