"""Studies: what is compared (`cells`), the runner (`runner`, `hands`, `measures`), what came of it.

A study is a run of the engine `study` that launches its cases as ordinary runs. Its folder of
results holds the frozen question (`study.json`), what each case is doing (`state.jsonl`), and one
point for every row (`points.jsonl`); load tests keep theirs in folders of their own.
"""
