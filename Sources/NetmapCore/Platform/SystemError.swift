internal import Glibc

/// The error of the system call that just failed.
///
/// This function reads `errno` before anything can overwrite it. Call it in the statement after the
/// system call.
package func systemError(
  _ call: StaticString, _ subject: @autoclosure () -> String, remedy: String = ""
) -> NetmapError {
  let code = errno
  return NetmapError(
    .init(rawValue: code), "\(call)", subject(), reason: unsafe String(cString: strerror(code)),
    remedy: remedy)
}
