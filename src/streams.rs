//! Bodies that pass through natively. The ciphertext of a snippet may be 10 MiB and is of no interest to this program, so
//! its bytes stay with the runtime: what comes before them is read or written here, then the rest is piped from stream to
//! stream without entering WebAssembly.

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{ReadableStream, ReadableStreamByobReader, WritableStream};
use worker::worker_sys::FixedLengthStream;

/// A request's body, of which the beginning is read here and the rest is handed on.
pub(crate) struct Body {
    stream: ReadableStream,
}

impl Body {
    /// The body of a request; none if it has none.
    pub(crate) fn of(request: &worker::Request) -> Option<Self> {
        let stream = request.inner().body()?;
        Some(Self { stream })
    }

    /// Takes exactly `length` bytes from the front, or none if the body ends before.
    pub(crate) async fn take(&mut self, length: u32) -> worker::Result<Option<Vec<u8>>> {
        if length == 0 {
            // The runtime refuses to read nothing.
            return Ok(Some(Vec::new()));
        }
        let reader = ReadableStreamByobReader::new(&self.stream)?;
        let read = at_least(&reader, length).await;
        // A stream that somebody holds cannot be piped.
        reader.release_lock();
        let bytes = read?;
        Ok((bytes.length() == length).then(|| bytes.to_vec()))
    }

    /// The rest, which must be `length` bytes: reading the stream fails when the body turns out shorter or longer. R2
    /// wants to know the length of what it is given, hence a `FixedLengthStream`.
    pub(crate) fn rest(self, length: u32) -> worker::Result<ReadableStream> {
        let fixed = FixedLengthStream::new(length)?;
        pipe(&self.stream, &fixed.writable());
        Ok(fixed.readable())
    }
}

/// A stream of `prefix` followed by the `length` bytes of `rest`.
pub(crate) fn prefixed(prefix: &[u8], rest: &ReadableStream, length: u32) -> worker::Result<ReadableStream> {
    let prefix = Uint8Array::from(prefix);
    let fixed = FixedLengthStream::new(length.saturating_add(prefix.length()))?;
    let writable = fixed.writable();
    let writer = writable.get_writer()?;
    // Such a stream has no buffer: the write ends when somebody has read it. Waiting here would be waiting for oneself.
    settle(writer.write_with_chunk(&prefix));
    writer.release_lock();
    pipe(rest, &writable);
    Ok(fixed.readable())
}

/// Lets the runtime move all of `source` into `sink`. A failure reaches whoever reads the other end of `sink`.
fn pipe(source: &ReadableStream, sink: &WritableStream) {
    settle(source.pipe_to(sink));
}

/// Lets a promise take its course. Its failure shows elsewhere and must not be reported as one that nobody handles.
fn settle(promise: js_sys::Promise) {
    spawn_local(async move {
        let _shown_elsewhere = JsFuture::from(promise).await;
    });
}

/// Up to `length` bytes, fewer only when the stream ends.
async fn at_least(reader: &ReadableStreamByobReader, length: u32) -> Result<Uint8Array, JsValue> {
    let view = Uint8Array::new_with_length(length);
    let reader: &AtLeast = reader.unchecked_ref();
    let result = JsFuture::from(reader.read_at_least(length, &view)?).await?;
    let value = Reflect::get(&result, &"value".into())?;
    Ok(value.dyn_into().unwrap_or_else(|_| Uint8Array::new_with_length(0)))
}

#[wasm_bindgen]
extern "C" {
    /// The runtime's addition to `ReadableStreamBYOBReader`:
    /// <https://developers.cloudflare.com/workers/runtime-apis/streams/readablestreambyobreader/>.
    type AtLeast;

    /// Reads until `view` has `bytes` bytes or the stream has ended, in one call and one copy.
    #[wasm_bindgen(method, catch, js_name = readAtLeast)]
    fn read_at_least(this: &AtLeast, bytes: u32, view: &Uint8Array) -> Result<js_sys::Promise, JsValue>;
}
