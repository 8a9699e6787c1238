"""The page: shell, words, widgets and the gate. The only part of studio/ that imports gradio."""

from studio.ui.lean_gradio import skip_editor_stubs

skip_editor_stubs()
