"""What was measured: points, folders of results, formulas, spread, comparison, verdicts.

Load tests, studies and quality runs write points; plots, tables, reports and verdicts read them.
Pure text and numbers: nothing here launches, draws or speaks to a server.
"""
