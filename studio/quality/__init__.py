"""How good are the answers: questions asked of several models, judged by people and by a model.

    questions     a question file, MT-bench's field names read as they are
    contestants   the models that answer, each an endpoint and one of its models
    asking        questions in, answers out; judging: answers in, judgements out
    work          both of them over a folder, resumable
    votes         blind pairs for people: sides shuffled by a kept seed, undo
    winrate       wins, ties and losses counted, with their interval
    summary       what a folder came to; table: all of them beside lm-eval and predictions
    desk          `QualityDesk`, the way in for the page and the command line

One comparison is one folder of results, `home/bench/quality-..._<stamp>/`:

    about.json        kind `quality`; settings, without any key
    questions.jsonl   the questions as they were asked, so that a changed file changes nothing
    models.jsonl      who answers, in order of appearance; more may be added later
    answers.jsonl     one line per question and model, appended when it is whole
    judgements.jsonl  one line per verdict of a judge, unreadable ones included
    votes.json        the secret seed of the blind pairs
    votes.jsonl       one line per vote of a person, and per vote taken back
    points.jsonl      one point per model, written again when its figures change

Endpoints are looked up when they are asked, so no API key ever lands in these files. Nothing here
imports a page or starts a process.
"""
