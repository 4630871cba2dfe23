internal import CNetmap
internal import Glibc

extension AttachedRing {
  /// Stamps a receive ring with the wall clock (`ts`: seconds and microseconds).
  ///
  /// Every receive sync stamps the ring, whether or not packets arrived, unless stamping was
  /// switched off and the ring does not ask for it with `NR_TIMESTAMP`.
  // Calls into the C library, which the compiler cannot follow.
  @_semantics("no_performance_analysis")
  @inline(__always)
  func stamp() {
    guard unsafe stampsAlways || ring.flags & UInt32(NR_TIMESTAMP) != 0 else { return }
    let field = unsafe (ring.base + NETMAP_RING_TS_OFFSET).assumingMemoryBound(to: timeval.self)
    unsafe gettimeofday(field, nil)
  }
}
