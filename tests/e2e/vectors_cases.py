"""The models and bounds of tests/e2e/vectors.py; tests/golden/vectors.py makes their reference from the same list."""

TEXTS = [[1, 263, 40, 297, 5, 266, 120, 280, 33, 77, 299, 260, 18, 201, 271, 64, 9, 288, 150, 99, 274, 3, 222, 290], [7], [250, 8],
         [(37 * i + 11) % 300 for i in range(150)]]
DECODER = "--type F32 --layers 2 --embd 64 --heads 4 --kv-heads 2 --vocab 300 "
ENCODER = "--type F32 --layers 2 --embd 64 --heads 4 --vocab 400 "

# name: (mkmodel's options, poolings that are compared). The bound holds for the largest |ours - exact| over the largest |exact|.
BOUND = 2e-6
CASES = {
    "qwen3": ("--arch qwen3 --key .pooling_type=u32:3 " + DECODER, ["last", "mean", "cls", "none"]),
    "gemma3": ("--arch gemma3 --window 8 --head-dim 32 " + DECODER.replace("300", "370"), ["mean"]),
    "qwen3-both-ways": ("--arch qwen3 --key .attention.causal=bool:0 --key .pooling_type=u32:1 " + DECODER, ["mean"]),
    "llama-both-ways": ("--arch llama --key .attention.causal=bool:0 --key .pooling_type=u32:1 " + DECODER, ["mean"]),
    "bert": ("--arch bert --biases --key .pooling_type=u32:1 " + ENCODER, ["mean", "cls", "none"]),
    "bert-ranks": ("--arch bert --biases --labels 3 --key .pooling_type=u32:4 " + ENCODER, ["rank"]),
    "nomic-bert": ("--arch nomic-bert --qkv 1 --key .pooling_type=u32:1 " + ENCODER, ["mean"]),
    "nomic-bert-moe": ("--arch nomic-bert-moe --layers 4 --biases --qkv 2 --experts 6 --experts-used 2 --expert-ff 96 "
                       "--key .pooling_type=u32:1 " + ENCODER.replace("--layers 2 ", ""), ["mean"]),
    "jina-bert-v2": ("--arch jina-bert-v2 --biases --heads 6 --head-dim 16 --key .pooling_type=u32:1 "
                     + ENCODER.replace("--heads 4 ", ""), ["mean"]),
    "jina-bert-v2-code": ("--arch jina-bert-v2 --attn-norm-2 --key .pooling_type=u32:1 " + ENCODER, ["mean"]),
    "jina-bert-v3": ("--arch jina-bert-v3 --qkv 2 --biases --key .pooling_type=u32:1 " + ENCODER, ["mean"]),
    "modern-bert": ("--arch modern-bert --layers 4 --window 16 --qkv 1 --freq-base 160000 --key .pooling_type=u32:2 "
                    + ENCODER.replace("--layers 2 ", ""), ["cls", "mean"]),
    "modern-bert-silu": ("--arch modern-bert --window 16 --key .hidden_activation=str:silu --key .pooling_type=u32:1 " + ENCODER,
                         ["mean"]),
    "modern-bert-ranks": ("--arch modern-bert --window 16 --labels 3 --key .pooling_type=u32:4 " + ENCODER, ["rank"]),
    "modern-bert-ranks-cls": ("--arch modern-bert --window 16 --labels 2 --key .pooling_type=u32:4 "
                              "--key .classifier.pooling_type=u32:2 " + ENCODER, ["rank"]),
    "eurobert": ("--arch eurobert --kv-heads 2 --key .pooling_type=u32:1 " + ENCODER, ["mean"]),
    "neo-bert": ("--arch neo-bert --qkv 1 --key .pooling_type=u32:2 " + ENCODER, ["cls"]),
    "t5encoder": ("--arch t5encoder --head-dim 24 --key .pooling_type=u32:1 " + ENCODER, ["mean", "none"]),
    "t5encoder-f16": ("--arch t5encoder --key .pooling_type=u32:1 " + ENCODER.replace("F32", "F16"), ["mean"]),
    "t5encoder-relu": ("--arch t5encoder --no-gate --key .attention.relative_buckets_count=u32:32 --key .pooling_type=u32:1 "
                       + ENCODER, ["mean"]),
    "llama-embed": ("--arch llama-embed --kv-heads 2 --key .pooling_type=u32:1 " + ENCODER, ["mean"]),
    "gemma-embedding": ("--arch gemma-embedding --layers 7 --window 16 --kv-heads 1 --head-dim 32 --dense 96 "
                        "--key .pooling_type=u32:1 " + ENCODER.replace("--layers 2 ", ""), ["mean"]),
}
