internal import CNetmapHalves
internal import Glibc
internal import NetmapClient
internal import NetmapCore
internal import NetmapRequests

// The control calls of the C half, which makes one at a time.

/// `netmap_half.open`
let openToken: @convention(c) (CInt) -> CInt = { closesOnExec in
  negatedErrno { () throws(NetmapError) in
    let token = try Token.unbound()
    // The socket may have a higher number than descriptors that are closed by now.
    let copy = Token(owning: try token.duplicate())
    token.close()
    return try copy.duplicate(survivesExec: closesOnExec == 0)
  }
}

/// `netmap_half.recognize`
let recognizeToken: @convention(c) (CInt) -> CInt = { descriptor in
  Token.identity(of: descriptor) == nil ? 0 : 1
}

/// `netmap_half.request`
///
/// Returns 1 if it has bound the token.
let performRequest: @convention(c) (CInt, UInt32, UnsafeMutableRawPointer?) -> CInt = {
  descriptor, command, argument in
  HalfState.dropUnattached()
  let server = TokenServer(descriptor)
  let layer = RequestLayer(memory: ProcessMemory(), server: server)
  if let error = layer.perform(UInt(command), UInt64(UInt(bitPattern: argument))) {
    return -error.rawValue
  }
  return unsafe HalfState.bound == nil ? 0 : 1
}

/// `netmap_half.attach`
let attachBinding: @convention(c) (CInt, UnsafeMutablePointer<netmap_binding>?) -> CInt = {
  descriptor, binding in
  guard let binding = unsafe binding else { return -EINVAL }
  return negatedErrno { () throws(NetmapError) in
    let port: PortInUse
    if let bound = unsafe HalfState.bound, bound.identity == Token.identity(of: descriptor) {
      port = bound.port
      unsafe HalfState.bound = nil
    } else {
      port = try HalfState.withToken(descriptor) { (token, connection) throws(NetmapError) in
        try PortInUse(try connection.mapPort(token, viewEnd: .withToken), connection)
      }
    }
    unsafe port.describe(in: binding)
    return 0
  }
}

/// `netmap_half.release`
let releaseBinding: @convention(c) (UnsafeMutablePointer<netmap_binding>?) -> Void = { binding in
  guard let place = unsafe binding?.pointee.port else { return }
  let port = unsafe Unmanaged<PortInUse>.fromOpaque(place).takeRetainedValue()
  port.leave()
}

/// `netmap_half.forked`
let forgetEverything: @convention(c) () -> Void = { HalfState.forgetEverything() }

/// Runs the body of a control call.
///
/// - Returns: What the body returns, or the negated `errno` of its error.
func negatedErrno(_ body: () throws(NetmapError) -> CInt) -> CInt {
  do throws(NetmapError) {
    return try body()
  } catch {
    return -RequestErrno(error).rawValue
  }
}

extension RequestErrno {
  /// The errno of an error, which is all that the program gets of it unless it wants explanations.
  init(_ error: NetmapError) {
    Explanation.write(error)
    self.init(rawValue: error.code.rawValue)
  }
}
