extension RequestLayer {
  /// Serves a control request whose header has been copied.
  func control(_ header: inout RequestHeader) throws(RequestErrno) {
    guard header.hasKnownVersion, header.reserved == 0 else { throw .invalidArgument }
    // netmap finds out last that it does not know a type, and treats it as one without a body until then.
    let type = RequestType(rawValue: header.rawType)
    let size = type?.bodyByteCount ?? 0
    guard (size > 0) == (header.body != 0) else { throw .invalidArgument }
    var body = RequestBody()
    guard body.copyIn(from: header.body, memory, to: 0..<size) else { throw .badAddress }
    var options = OptionList()
    var failure: RequestErrno?
    do throws(RequestErrno) {
      try options.read(from: header.options, requestBody: size, memory)
      header.terminateName()
      try serve(type, &header, &body, &options)
    } catch {
      failure = error
    }
    copyBack(header, body, size, options, &failure)
    if let failure { throw failure }
  }

  /// Copies a request back to the program: the body if the request succeeded, and then the options.
  private func copyBack(
    _ header: RequestHeader, _ body: RequestBody, _ size: Int, _ options: borrowing OptionList,
    _ failure: inout RequestErrno?
  ) {
    if failure == nil, !body.copyOut(to: header.body, memory, from: 0..<size) {
      // The server's work stands: the program has lost only the answer.
      failure = .badAddress
      return
    }
    options.writeBack(memory, failure: &failure)
  }
}
