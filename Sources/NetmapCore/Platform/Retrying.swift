internal import Glibc

/// Repeats an attempt while its refusal says that another one may succeed
/// (``NetmapError/patience``).
///
/// Blocks the calling thread between attempts, 10 ms each time.
///
/// - Returns: What the first successful attempt returns.
/// - Throws: ``NetmapError``: the last refusal.
package func retrying<Result>(
  _ attempt: () throws(NetmapError) -> Result
) throws(NetmapError) -> Result {
  let start = monotonicNanoseconds()
  while true {
    do throws(NetmapError) {
      return try attempt()
    } catch {
      guard error.mayPass(since: start) else { throw error }
      usleep(10_000)
    }
  }
}
