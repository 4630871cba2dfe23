internal import Glibc

/// A thread that runs until its work is done; no thread joins it.
public struct DetachedThread {
  @discardableResult
  public init(_ body: @escaping @Sendable () -> Void) {
    let box = Box(body)
    var thread = pthread_t()
    let code = unsafe pthread_create(
      &thread, nil,
      { context in
        guard let context = unsafe context else { return nil }
        unsafe Unmanaged<Box>.fromOpaque(context).takeRetainedValue().body()
        return nil
      }, Unmanaged.passRetained(box).toOpaque())
    precondition(code == 0, "no thread left")
    pthread_detach(thread)
  }

  private final class Box {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }
}
