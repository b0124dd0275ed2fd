// A page that was opened as a file may start no worker, so the search runs in a hidden frame there.
if (location.protocol === "file:") window.Worker = class extends EventTarget {
  constructor(address) {
    super();
    const frame = document.createElement("iframe");
    frame.hidden = true;
    document.body.append(frame);
    this.inside = frame.contentWindow;
    this.inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
    this.started = new Promise((started) => {
      const script = frame.contentDocument.createElement("script");
      script.src = address;
      script.onload = started;
      frame.contentDocument.body.append(script);
    });
  }
  postMessage(data) {
    this.started.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })));
  }
  terminate() {
    this.inside.frameElement.remove();
  }
};
