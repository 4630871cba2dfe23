internal import Glibc

/// Waits until a descriptor has one of the given events, an error, or a peer that has gone: poll(2), which a signal does
/// not end.
///
/// - Parameters:
///   - file: The descriptor.
///   - events: `POLLIN`, ...
///   - milliseconds: How long to wait, from the last signal on; -1 for as long as it takes.
/// - Returns: Whether it has one.
package func isReady(_ file: CInt, for events: CInt, within milliseconds: CInt) -> Bool {
  var state = pollfd(fd: file, events: Int16(events), revents: 0)
  while true {
    let count = unsafe poll(&state, 1, milliseconds)
    if count >= 0 || errno != EINTR { return count == 1 }
  }
}
