"""The demo: a page with a tab a task, in Gradio; a thin one on the API, in Streamlit; a Space."""
